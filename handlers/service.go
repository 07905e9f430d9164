package handlers

import (
	"context"
)

func (a *api) service() []route {
	return []route{
		newRoute(operation{
			Method: "GET", Path: "/livez", ID: "check-liveness", Tag: tagService, Success: 200, Role: whoever, NoStore: true,
			Summary: "Ask whether the process lives",
			Text:    "Never asks the database: a process without one should not be restarted.",
		}, a.live),
		newRoute(operation{
			Method: "GET", Path: "/readyz", ID: "check-readiness", Tag: tagService, Success: 200, Role: whoever, NoStore: true,
			Summary: "Ask whether the process should get requests",
			Codes:   []string{codeNotReady},
		}, a.ready),
		newRoute(operation{
			Method: "GET", Path: "/problems/{code}", ID: "explain-problem", Tag: tagService, Success: 200, Role: anyone,
			Summary: "Explain a problem's code",
			Text:    "Where the type of every problem leads.",
			Codes:   []string{codeNotFound},
		}, a.explain),
	}
}

// Health is the answer of a process that is well.
type Health struct {
	Status string `json:"status" example:"ok"`
}

type healthOutput struct{ Body Health }

func (a *api) live(context.Context, *struct{}) (*healthOutput, error) {
	return &healthOutput{Health{"ok"}}, nil
}

func (a *api) ready(ctx context.Context, _ *struct{}) (*healthOutput, error) {
	if err := a.config.Ready(ctx); err != nil {
		p := newProblem(codeNotReady)
		p.cause = err
		return nil, p
	}
	return &healthOutput{Health{"ok"}}, nil
}

// Explanation is what a problem's code means.
type Explanation struct {
	Code   string `json:"code" example:"borrow_limit"`
	Status int    `json:"status" example:"409"`
	Title  string `json:"title" example:"Borrow limit reached"`
	Detail string `json:"detail" example:"The user has as many books out as the rules allow."`
}

func (a *api) explain(_ context.Context, in *struct {
	Code string `path:"code" example:"borrow_limit"`
}) (*struct{ Body Explanation }, error) {
	p := newProblem(in.Code)
	if p.Status == 0 {
		return nil, newProblem(codeNotFound)
	}
	return &struct{ Body Explanation }{Explanation{Code: p.Code, Status: p.Status, Title: p.Title, Detail: p.Detail}}, nil
}
