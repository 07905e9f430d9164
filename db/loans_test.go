package db_test

import (
	"context"
	"testing"

	"library-management/internal/dbtest"
	"library-management/library"
)

func TestLend(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		ctx := context.Background()
		b, err := s.CreateBook(ctx, library.Book{Title: " Dune ", Author: "Frank Herbert", Copies: 1})
		if err != nil {
			t.Fatal(err)
		}
		u, err := s.CreateUser(ctx, library.User{Name: "Ada"})
		if err != nil {
			t.Fatal(err)
		}
		b, err = s.Borrow(ctx, b.ID, u.ID)
		t.Log(b, err)
		u, err = s.FindUser(ctx, u.ID)
		t.Log(u, err)
		_, err = s.Borrow(ctx, b.ID, u.ID)
		t.Log(err)
		t.Log(s.DeleteBook(ctx, b.ID), s.DeleteUser(ctx, u.ID))
		b, err = s.Return(ctx, b.ID, u.ID)
		t.Log(b, err)
		_, err = s.Return(ctx, b.ID, u.ID)
		t.Log(err)
		t.Log(s.FindBooks(ctx, library.Page{Limit: 10}))
		t.Log(s.UpdateBook(ctx, b.ID, func(b *library.Book) error { b.Title = "x"; return nil }))
		t.Log(s.DeleteBook(ctx, b.ID), s.DeleteUser(ctx, u.ID))
		t.Log(s.Ready(ctx))
	})
}
