package arm

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Stream is the result of a hook whose answer is no JSON document and may be
// larger than memory.
type Stream struct {
	// ContentType is the answer's.
	ContentType string
	// Write writes the body. When it fails before it wrote anything, the client
	// gets the error; later, the connection is cut, so that what came is not
	// taken for the whole.
	Write func(ctx context.Context, w io.Writer) error
}

// streamPatience is how long a client may take for each piece of a stream: the
// server's own limit is for a whole answer, of the usual size.
const streamPatience = time.Minute

// answerStream writes a stream.
func (x *exchange) answerStream(status int, s *Stream) error {
	w := &streamWriter{x: x, status: status, contentType: s.ContentType, control: http.NewResponseController(x.w)}
	err := s.Write(x.ctx, w)
	if err == nil && !w.begun {
		_, err = w.Write(nil)
	}
	if err != nil && w.begun {
		x.engine.log.ErrorContext(x.ctx, "an answer was cut short", "type", x.request.Type, "error", err)
		panic(http.ErrAbortHandler)
	}
	return err
}

// streamWriter begins the answer with the first piece of its body.
type streamWriter struct {
	x           *exchange
	status      int
	contentType string
	control     *http.ResponseController
	begun       bool
}

func (w *streamWriter) Write(p []byte) (int, error) {
	// A writer without deadlines, as in tests, waits for whom it likes.
	_ = w.control.SetWriteDeadline(time.Now().Add(streamPatience))
	if !w.begun {
		w.begun = true
		w.x.w.Header().Set("Content-Type", w.contentType)
		w.x.w.WriteHeader(w.status)
	}
	n, err := w.x.w.Write(p)
	if err != nil {
		err = fmt.Errorf("writing the answer: %w", err)
	}
	return n, err
}
