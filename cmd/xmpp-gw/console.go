package main

import (
	"fmt"
	"io"
	"sync"
)

// console shares the terminal between the lines of start-up, the log, and one
// line that is written over as something goes on. It is safe for concurrent use.
type console struct {
	mu       sync.Mutex
	ui       *ui
	terminal bool
	// The step under way; no name: none.
	name, progress string
}

func newConsole(u *ui) *console { return &console{ui: u, terminal: u.outTerminal} }

// line prints a line of start-up, "NAME: text" or only the text.
func (c *console) line(name, format string, args ...any) {
	c.above(func() { c.print(name, fmt.Sprintf(format, args...), "\n") })
}

// step shows how far something is: on a terminal over the step before it, else
// not at all.
func (c *console) step(name, format string, args ...any) {
	if !c.terminal {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.erase()
	c.name, c.progress = name, fmt.Sprintf(format, args...)
	c.redraw()
}

// done ends the steps; the line that follows stands in their place.
func (c *console) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.erase()
	c.name = ""
}

// above writes lines over the step under way, and the step below them again.
func (c *console) above(write func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.erase()
	write()
	c.redraw()
}

func (c *console) erase() {
	if c.name != "" {
		fmt.Fprint(c.ui.out, "\r\x1b[K")
	}
}

func (c *console) redraw() {
	if c.name != "" {
		c.print(c.name, c.progress, "")
	}
}

func (c *console) print(name, text, end string) {
	if name != "" {
		name = paint(c.ui.outColour, bold, name+":") + " "
	}
	fmt.Fprint(c.ui.out, name+printable(text)+end)
}

// warn prints a warning.
func (c *console) warn(format string, args ...any) {
	c.above(func() { c.ui.warn(format, args...) })
}

// fail prints an error that does not end the daemon.
func (c *console) fail(err error) {
	c.above(func() { c.ui.fail(err) })
}

// log is the writer of the log.
func (c *console) log() io.Writer { return logWriter{c} }

type logWriter struct{ c *console }

func (w logWriter) Write(p []byte) (n int, err error) {
	w.c.above(func() { n, err = w.c.ui.err.Write(p) })
	return n, err
}
