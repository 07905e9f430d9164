package handlers

import (
	"github.com/gofiber/fiber/v2"

	pages "library-management/desk" // desk is a role here
)

// pages are the pages for people, by their paths. They stand in no document, and what they show they ask the API for.
func (a *api) pages() map[string]fiber.Handler {
	return map[string]fiber.Handler{
		"/":                    a.deskPage("home"),
		"/desk":                a.deskPage("desk"),
		"/catalogue":           a.deskPage("catalogue"),
		"/desk/:version/:file": deskFile,
	}
}

func (a *api) deskPage(name string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		c.Set("Content-Security-Policy", pages.Policy)
		c.Set("Referrer-Policy", "same-origin") // not no-referrer, under which some browsers send Origin: null, which is no origin of ours
		c.Set("Content-Type", "text/html; charset=utf-8")
		return c.Send(pages.Page(name, a.prefix(c.UserContext())))
	}
}

// deskFile serves a file of the pages, for a year, as another content has another address. While instances are replaced, a page of
// the one kind may ask the other for its files: then these are better than none, but not to be kept.
func deskFile(c *fiber.Ctx) error {
	f, ok := pages.Find(c.Params("file"))
	if !ok {
		return fiber.ErrNotFound
	}
	c.Set("Cache-Control", "no-store")
	if c.Params("version") == pages.Version() {
		c.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	c.Set("Content-Type", f.Type)
	return sendEither(c, f.Plain, f.Packed)
}
