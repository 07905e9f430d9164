package handlers_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"library-management/handlers"
	"library-management/internal/dbtest"
)

// titlesAt are the titles of a list, page by page, as the Link headers lead.
func titlesAt(t *testing.T, app *fiber.App, target, field string, headers ...string) (titles []string) {
	t.Helper()
	for pages := 0; target != ""; pages++ {
		if pages > 50 {
			t.Fatalf("%s goes on and on", target)
		}
		a := call(t, app, "GET", target, "", headers...).want(200)
		for _, item := range a.list() {
			titles = append(titles, item[field].(string))
		}
		link := a.header.Get("Link")
		if link == "" {
			return titles
		}
		target = strings.TrimSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
		if target == link {
			t.Fatalf("Link: %s", link)
		}
	}
	return titles
}

func TestSearch(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		store := d.Open(t)
		app := newApp(store)
		for i, b := range []string{"The Who|Mark Blake", "It|Stephen King", "It Ends with Us|Colleen Hoover", "Zoë & the \"Sea\"|Zola", "Is It the Who|Anon"} {
			title, author, _ := strings.Cut(b, "|")
			call(t, app, "POST", "/books/", fmt.Sprintf(`{"title":%q,"author":%q,"published_year":%d,"category":"C %d","language":"en"}`, title, author, 2000-i, i%2)).want(201)
		}
		call(t, app, "POST", "/books/", leGuin).want(201)
		call(t, app, "POST", "/users/", ada).want(201)
		call(t, app, "POST", "/users/", `{"name":"Adam"}`).want(201)
		call(t, app, "POST", "/books/2/borrow/1", "").want(200)
		for _, test := range []struct {
			query url.Values
			want  string
		}{
			{url.Values{"q": {"it"}}, "It, It Ends with Us, Is It the Who"},
			{url.Values{"q": {"  IT  "}}, "It, It Ends with Us, Is It the Who"},
			{url.Values{"q": {"the who"}}, "The Who, Is It the Who"},
			{url.Values{"q": {`zoe & "sea`}}, `Zoë & the "Sea"`},
			{url.Values{"q": {"978-0-441-47812-5"}}, "The Left Hand of Darkness"},
			{url.Values{"q": {"?"}}, ""},
			{url.Values{"q": {""}, "author": {"zola"}}, `Zoë & the "Sea"`},
			{url.Values{"isbn": {"0-441-47812-3"}}, "The Left Hand of Darkness"},
			{url.Values{"title": {"it"}, "sort": {"title"}}, "Is It the Who, It, It Ends with Us"},
			{url.Values{"title": {"it"}, "sort": {"year"}}, "Is It the Who, It Ends with Us, It"},
			{url.Values{"title": {"it"}, "sort": {"-id"}}, "Is It the Who, It Ends with Us, It"},
			{url.Values{"title": {"it"}, "sort": {"author"}}, "Is It the Who, It Ends with Us, It"},
			{url.Values{"available": {"false"}}, "It"},
			{url.Values{"available": {"true"}, "q": {"it"}}, "It Ends with Us, Is It the Who"},
			{url.Values{"category": {"c 1"}, "language": {"EN"}}, `It, Zoë & the "Sea"`},
			{url.Values{"sort": {"title"}}, `Is It the Who, It, It Ends with Us, The Left Hand of Darkness, The Who, Zoë & the "Sea"`},
			{url.Values{"sort": {"year"}}, `The Left Hand of Darkness, Is It the Who, Zoë & the "Sea", It Ends with Us, It, The Who`},
			{url.Values{"sort": {"-id"}}, `The Left Hand of Darkness, Is It the Who, Zoë & the "Sea", It Ends with Us, It, The Who`},
		} {
			for _, limit := range []int{100, 1} {
				target := fmt.Sprintf("/books/?limit=%d&%s", limit, test.query.Encode())
				if got := strings.Join(titlesAt(t, app, target, "title"), ", "); got != test.want {
					t.Errorf("%s: got %s, want %s", target, got, test.want)
				}
			}
		}
		if got, want := strings.Join(titlesAt(t, app, "/users/?q=ada&limit=1", "name"), ", "), "Ada Lovelace, Adam"; got != want {
			t.Errorf("users: got %s, want %s", got, want)
		}
		call(t, app, "PATCH", "/users/2", `{"status":"blocked"}`).want(200)
		call(t, app, "POST", "/users/", `{"name":"Adamsberg","status":"blocked"}`).want(201)
		for query, want := range map[string]string{"status=blocked": "Adam, Adamsberg", "status=active": "Ada Lovelace", "q=adams&status=blocked": "Adamsberg", "q=ada&status=blocked": "Adam, Adamsberg", "q=lovelace&status=blocked": ""} {
			if got := strings.Join(titlesAt(t, app, "/users/?limit=1&"+query, "name"), ", "); got != want {
				t.Errorf("users by %s: got %s, want %s", query, got, want)
			}
		}
		if users := call(t, app, "GET", "/users/?q=lovelace", "").want(200).list(); len(users) != 1 || len(users[0]["borrowed_books"].([]any)) != 1 {
			t.Errorf("users: got %v", users)
		}
		// Who has a book is told to nobody who searches without the role desk, and by no order or filter.
		public := newApp(store, closed, func(c *handlers.Config) { c.PublicCatalogue = true })
		for _, target := range []string{"/books/?q=it", "/books/?available=false", "/books/?sort=-id"} {
			if a := call(t, public, "GET", target, "").want(200); strings.Contains(a.body, `"borrowed_by_id":1`) || !strings.Contains(a.body, `"due_date":"`) {
				t.Errorf("%s: %s", target, a.body)
			}
		}
		call(t, public, "GET", "/users/?q=ada", "").problem(401, "key_needed")
		call(t, public, "GET", "/books/?q=ada&limit=101", "").problem(422, "invalid", "query.limit")
	})
}
