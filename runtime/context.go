package runtime

import (
	"context"
	"encoding/json"
)

// invocation is the context of one call on Lambda: what c.UserContext() gives. It ends at Lambda's deadline less a
// margin, and carries Lambda's own values, lambdacontext among them. On a port it has the prefix only.
type invocation struct {
	context.Context
	event  json.RawMessage
	prefix string
}

type invocationKey struct{}

func (i *invocation) Value(key any) any {
	if key == (invocationKey{}) {
		return i
	}
	return i.Context.Value(key)
}

func invocationOf(ctx context.Context) *invocation {
	i, _ := ctx.Value(invocationKey{}).(*invocation)
	return i
}

// BasePath returns what was cut off the front of the request's path, such as "/v1" or a stage's "/prod": the prefix of
// each link that the client is to follow. On Lambda it is "" where nothing was cut; on a port it is Config.BasePath, for a
// proxy may have cut it already. ctx is c.UserContext().
func BasePath(ctx context.Context) string {
	if i := invocationOf(ctx); i != nil {
		return i.prefix
	}
	return ""
}

// Event returns the event that Lambda was called with, as it came, to be decoded into a type of aws-lambda-go/events;
// nil on a port. The gateway wrote it: no header of a client's gets into its requestContext. It must not be changed.
func Event(ctx context.Context) json.RawMessage {
	if i := invocationOf(ctx); i != nil {
		return i.event
	}
	return nil
}

// Claims returns what the gateway's authorizer found out about the caller: the claims of a JWT or of Cognito, the
// context of a Lambda authorizer, or the IAM identity; nil where nothing authorized the call, and on a port.
func Claims(ctx context.Context) map[string]any {
	var e struct {
		RequestContext struct {
			Authorizer map[string]any `json:"authorizer"`
		} `json:"requestContext"`
	}
	if json.Unmarshal(Event(ctx), &e) != nil {
		return nil
	}
	claims := e.RequestContext.Authorizer
	for _, kind := range []string{"jwt", "lambda", "iam", "claims"} { // the first three are 2.0's, the last is Cognito's
		if inner, ok := claims[kind].(map[string]any); ok {
			claims = inner
		}
	}
	return claims
}
