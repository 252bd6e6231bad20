package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// What a write error means: Config.OnFull.
const (
	// OnFullRefuse: requests are refused until records can be written again.
	OnFullRefuse = "refuse"
	// OnFullContinue: records that can't be kept are counted and lost.
	OnFullContinue = "continue"
)

// ErrUnwritable is what Write gives when records can't be kept.
var ErrUnwritable = errors.New("audit: records can't be written")

// Config configures Open.
type Config struct {
	// Path is the file, made with mode 0600 and appended to. Empty: records are
	// counted and go nowhere.
	Path string
	// OnFull says what a write error means: OnFullRefuse (the default) or
	// OnFullContinue.
	OnFull string
	// BufferSize is how many bytes of records may wait to be written.
	// Default 1 MiB.
	BufferSize int
	// Logger is told when writing fails and when it works again. Default: none.
	Logger *slog.Logger
	// Now is the clock of records without a time. Default time.Now.
	Now func() time.Time
}

const (
	defaultBufferSize = 1 << 20
	// flushEvery is for how long a record waits in memory.
	flushEvery = 100 * time.Millisecond
	// retryEvery is how often a failing file is tried again.
	retryEvery = time.Second
	// defaultPatience is how long Write waits for room in the buffer.
	defaultPatience = time.Second
)

// Log is the audit log: a buffered writer to a file of JSON lines. Records wait
// at most 100 ms in memory and are not forced to the disk one by one: the end
// of the process by a signal that can't be caught loses those, a full disk none.
type Log struct {
	cfg      Config
	metrics  *metrics
	patience time.Duration // defaultPatience, but in tests

	kick   chan struct{} // there is something to write
	urgent chan struct{} // the buffer is half full
	stop   chan struct{} // Close has begun
	ended  chan struct{} // the writing goroutine has ended

	mu      sync.Mutex
	buf     []byte        // lines that wait
	writing int           // bytes of lines that are being written
	failing error         // why the last write failed, nil when it didn't
	closed  bool          // Close has begun
	room    chan struct{} // closed, and replaced, when lines were written or failed

	// io guards what follows. It is taken before mu, never the other way round.
	io      sync.Mutex
	file    *os.File // nil: the log goes nowhere, or is closed
	pending []byte   // lines that are being written
	done    int      // how much of pending is in the file
}

// Open opens the log for appending. A file that others may read is made
// private.
func Open(cfg Config) (*Log, error) {
	switch cfg.OnFull {
	case "":
		cfg.OnFull = OnFullRefuse
	case OnFullRefuse, OnFullContinue:
	default:
		return nil, fmt.Errorf("audit: what to do when the log is full is %q or %q, not %q", OnFullRefuse, OnFullContinue, cfg.OnFull)
	}
	if cfg.BufferSize < 0 {
		return nil, fmt.Errorf("audit: a buffer of %d bytes is not possible", cfg.BufferSize)
	}
	if cfg.BufferSize == 0 {
		cfg.BufferSize = defaultBufferSize
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l := &Log{
		cfg:      cfg,
		metrics:  newMetrics(),
		patience: defaultPatience,
		kick:     make(chan struct{}, 1),
		urgent:   make(chan struct{}, 1),
		stop:     make(chan struct{}),
		ended:    make(chan struct{}),
		room:     make(chan struct{}),
	}
	if cfg.Path == "" {
		close(l.ended)
		return l, nil
	}
	file, err := openFile(cfg.Path)
	if err != nil {
		return nil, err
	}
	l.file = file
	go l.run()
	return l, nil
}

// openFile opens for appending, privately, and ends a line that a crash cut.
func openFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	if err := prepareFile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the audit log: %w", err), f.Close())
	}
	return f, nil
}

func prepareFile(f *os.File) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		if err := f.Chmod(0o600); err != nil {
			return err
		}
	}
	if info.Size() == 0 {
		return nil
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, info.Size()-1); err != nil {
		return err
	}
	if last[0] != '\n' {
		_, err = f.Write([]byte("\n"))
	}
	return err
}

// Write takes the record. The error is non-nil, ErrUnwritable, only when
// records can't be kept and the configuration says to refuse: the caller must
// then refuse the request. Time, CorrelationID, RequestID and RemoteAddr are
// filled from ctx (azure.RequestFrom) when empty.
func (l *Log) Write(ctx context.Context, r Record) error {
	r.fill(ctx, l.cfg.Now)
	r.clean()
	l.metrics.records.WithLabelValues(r.Kind, r.Result).Inc()
	if l.cfg.Path == "" {
		return nil
	}
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	line, err := e.encode(&r)
	if err == nil {
		err = l.append(ctx, line)
	}
	if err == nil {
		return nil
	}
	l.metrics.lost.Inc()
	if l.cfg.OnFull == OnFullContinue {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnwritable, err)
}

var (
	errClosed  = errors.New("the log is closed")
	errTooSlow = errors.New("the file takes them too slowly")
)

// append puts a line into the buffer; it waits for room while writing works.
func (l *Log) append(ctx context.Context, line []byte) error {
	var timeout <-chan time.Time
	for {
		l.mu.Lock()
		room, err := l.room, l.tryAppend(line)
		l.mu.Unlock()
		if !errors.Is(err, errTooSlow) {
			return err
		}
		if timeout == nil {
			t := time.NewTimer(l.patience)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-room:
		case <-timeout:
			return errTooSlow
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// tryAppend is append without waiting. l.mu is held.
func (l *Log) tryAppend(line []byte) error {
	if l.closed {
		return errClosed
	}
	if l.failing != nil && l.cfg.OnFull == OnFullRefuse {
		return l.failing
	}
	full := len(l.buf)+l.writing+len(line) > l.cfg.BufferSize
	if full && l.failing != nil {
		return l.failing
	}
	// A line alone may be larger than the buffer, never two.
	if full && len(l.buf)+l.writing > 0 {
		signal(l.urgent)
		return errTooSlow
	}
	if len(l.buf) == 0 {
		signal(l.kick)
	}
	l.buf = append(l.buf, line...)
	if len(l.buf) > l.cfg.BufferSize/2 && l.failing == nil {
		signal(l.urgent)
	}
	return nil
}

// signal makes ch ready without waiting.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// run writes what waits, until Close.
func (l *Log) run() {
	defer close(l.ended)
	for {
		select {
		case <-l.kick:
		case <-l.stop:
			return
		}
		wait := flushEvery
		for {
			t := time.NewTimer(wait)
			select {
			case <-t.C:
			case <-l.urgent:
			case <-l.stop:
				t.Stop()
				return
			}
			t.Stop()
			if l.Flush() == nil {
				break
			}
			wait = retryEvery
		}
	}
}

// Flush writes what waits to the file. After an error it stays in the buffer.
func (l *Log) Flush() error {
	l.io.Lock()
	defer l.io.Unlock()
	if l.file == nil {
		return nil
	}
	for {
		if l.done == len(l.pending) && !l.take() {
			return nil
		}
		n, err := l.file.Write(l.pending[l.done:])
		l.done += n
		l.wrote(err)
		if err != nil {
			return fmt.Errorf("writing the audit log: %w", err)
		}
	}
}

// take makes the lines that wait the pending ones; false: there are none.
// l.io is held.
func (l *Log) take() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.buf) == 0 {
		return false
	}
	l.pending, l.buf = l.buf, l.pending[:0]
	l.done, l.writing = 0, len(l.pending)
	return true
}

// wrote notes the outcome of a write. l.io is held.
func (l *Log) wrote(err error) {
	l.mu.Lock()
	before := l.failing
	l.failing = err
	l.writing = len(l.pending) - l.done
	close(l.room)
	l.room = make(chan struct{})
	l.mu.Unlock()
	switch {
	case err != nil:
		l.metrics.errors.Inc()
		if before == nil {
			l.cfg.Logger.Error("the audit log can't be written", "error", err, "path", l.cfg.Path, "onFull", l.cfg.OnFull)
		}
	case before != nil:
		l.cfg.Logger.Warn("the audit log can be written again", "path", l.cfg.Path)
	}
}

// Reopen closes the file and opens its path anew, after the file was moved
// away. When that fails, the log stays with the old file.
func (l *Log) Reopen() error {
	if l.cfg.Path == "" {
		return nil
	}
	file, err := openFile(l.cfg.Path)
	if err != nil {
		return err
	}
	l.io.Lock()
	if l.file == nil {
		l.io.Unlock()
		return errors.Join(errClosed, closeFile(file))
	}
	// A line that is only in part in the old file goes to the new one whole.
	l.done = bytes.LastIndexByte(l.pending[:l.done], '\n') + 1
	old := l.file
	l.file = file
	l.io.Unlock()
	return errors.Join(l.Flush(), closeFile(old))
}

func closeFile(f *os.File) error {
	if err := f.Close(); err != nil {
		return fmt.Errorf("closing the audit log: %w", err)
	}
	return nil
}

// Close writes what waits, and closes the file. Its error says when records
// were lost.
func (l *Log) Close() error {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		<-l.ended
		return nil
	}
	close(l.stop)
	<-l.ended
	if l.cfg.Path == "" {
		return nil
	}
	err := l.Flush()
	l.io.Lock()
	defer l.io.Unlock()
	if err != nil {
		lost := bytes.Count(l.pending[l.done:], []byte("\n"))
		l.mu.Lock()
		lost += bytes.Count(l.buf, []byte("\n"))
		l.mu.Unlock()
		l.metrics.lost.Add(float64(lost))
		err = fmt.Errorf("%w; %d records are lost", err, lost)
	}
	file := l.file
	l.file = nil
	return errors.Join(err, closeFile(file))
}
