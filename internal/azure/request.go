package azure

import "context"

// Request is what every plane notes of a request for logs, audit and answers.
type Request struct {
	// CorrelationID ties the requests of one operation together: the client's
	// own (x-ms-correlation-request-id, client-request-id) or a new one.
	CorrelationID string
	// RequestID names this request alone.
	RequestID string
	// RemoteAddr is the peer's address.
	RemoteAddr string
}

type requestKey struct{}

// WithRequest attaches r to the context.
func WithRequest(ctx context.Context, r Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// RequestFrom gives the request of the context, or the zero Request.
func RequestFrom(ctx context.Context) Request {
	r, _ := ctx.Value(requestKey{}).(Request)
	return r
}
