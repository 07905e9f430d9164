package desk_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func (s *server) book(title, author string, more ...any) map[string]any {
	s.t.Helper()
	body := map[string]any{"title": title, "author": author}
	for i := 0; i < len(more); i += 2 {
		body[more[i].(string)] = more[i+1]
	}
	return s.call("POST", "/books/", body)
}

func (s *server) member(name, card string) map[string]any {
	s.t.Helper()
	return s.call("POST", "/users/", map[string]any{"name": name, "card_number": card})
}

func id(v map[string]any) int { return int(v["id"].(float64)) }

func TestCatalogue(t *testing.T) {
	s := serve(t)
	ada := s.member("Ada Lovelace", "2170001")
	germinal := s.book("Germinal", "Émile Zola", "category", "Fiction", "published_year", 1885)
	s.book("Dune", "Frank Herbert", "copies", 3)
	for i := range 30 {
		s.book(fmt.Sprintf("The %d Tales", i), "Anon & <b>Sons</b>")
	}
	grace := s.member("Grace Hopper", "2170002")
	s.call("POST", fmt.Sprintf("/books/%d/borrow/%d", id(germinal), id(ada)), nil)
	s.call("POST", fmt.Sprintf("/books/%d/holds/%d", id(germinal), id(grace)), nil)

	p := s.open("/catalogue")
	p.shows("main", "The 29 Tales", "Anon & <b>Sons</b>")
	p.wait(`document.activeElement.id === "q"`)
	p.accessible("catalogue")
	p.click("button", "More books")
	p.shows("main", "Dune")
	p.press("zolá")
	p.wait(`decodeURIComponent(location.hash) === "#list?q=zolá" && document.querySelectorAll(".rows > li").length === 1`)
	p.shows(".rows", "Germinal", "Émile Zola", "Due ", "1 reader waits")
	if got := p.text("body"); strings.Contains(got, "Ada") || strings.Contains(got, "Grace") {
		t.Error("the catalogue says who has a book")
	}
	p.picture("catalogue-found")
	p.click("a", "Germinal")
	p.shows("h1", "Germinal")
	p.shows("main", "1885", "Fiction", "Due ")
	p.accessible("catalogue-book")
	p.click("a", "Back to the list")
	p.wait(`document.getElementById("q")?.value === "zolá" && document.querySelectorAll(".rows > li").length === 1`)
	p.click("label", "Only what is free now")
	p.shows("main", "Nothing is found")
	p.accessible("catalogue-nothing")
}

func TestCatalogue_needs_a_key(t *testing.T) {
	s := serve(t, "AUTH=keys")
	p := s.open("/catalogue")
	p.shows("main", "not public")
	p.accessible("catalogue-closed")
	key := s.library("key", "add", "reader", "--name", "Readers")
	p.press(key + "\r")
	p.shows("main", "no books yet")
	p.click("button", "Log out")
	p.shows("main", "not public")
}

func TestCatalogue_public(t *testing.T) {
	s := serve(t, "AUTH=keys", "PUBLIC_CATALOGUE=on")
	p := s.open("/catalogue")
	p.shows("main", "no books yet")
}

func TestHome(t *testing.T) {
	s := serve(t)
	p := s.open("/")
	p.shows("h1", "Library")
	p.accessible("home")
	p.click("a b", "Catalogue")
	p.wait(`location.pathname === "/catalogue"`)
	p.shows("main", "no books yet")
}

// TestBrowser_sees_faults: what the other tests rely on to find faults does find them.
func TestBrowser_sees_faults(t *testing.T) {
	s := serve(t)
	p := s.open("/catalogue")
	p.shows("main", "no books yet")
	for _, fault := range []struct{ script, want string }{
		{`document.body.append(Object.assign(document.createElement("img"), {src: "icon.svg"}))`, "image-alt"},
		{`document.querySelector(".quiet").setAttribute("style", ""); document.querySelector(".quiet").style.color = "#ccc"`, "color-contrast"},
	} {
		eval[any](p, fault.script+"; 0")
		if got := strings.Join(p.violations(), "\n"); !strings.Contains(got, fault.want) {
			t.Errorf("planted %s, got %q", fault.want, got)
		}
	}
	eval[any](p, `setTimeout(() => { try { document.body.innerHTML = "<i></i>" } catch {} Promise.reject(new Error("planted")); document.body.append(Object.assign(document.createElement("img"), {alt: "", src: "http://127.0.0.1:9/x"})) }); 0`)
	for _, want := range []string{"policy: require-trusted-types-for", "policy: img-src", "planted"} {
		for deadline := time.Now().Add(patience); !p.heard(want); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s was not heard: %q", want, p.faults)
			}
		}
	}
	p.faults = nil
}

func (p *tab) heard(fault string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Contains(strings.Join(p.faults, "\n"), fault)
}
