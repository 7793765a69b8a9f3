package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// cleanUp stops what was started, the last first, and removes what was written.
// It says what it could not.
func (d *demo) cleanUp() error {
	var errs []error
	for _, stop := range slices.Backward(d.closers) {
		errs = append(errs, stop())
	}
	if d.dir == "" {
		return errors.Join(errs...)
	}
	errs = append(errs, os.RemoveAll(d.dir))
	if left := d.processes(); len(left) > 0 {
		errs = append(errs, fmt.Errorf("these processes are left: %s", strings.Join(left, "; ")))
	}
	return errors.Join(errs...)
}

// processes are those that still belong to the demonstration: its directory is
// in the command line or the environment of each. One that is just ending gets a
// moment.
func (d *demo) processes() []string {
	var left []string
	for range 20 {
		left = left[:0]
		all, _ := filepath.Glob("/proc/[0-9]*")
		for _, proc := range all {
			if proc == fmt.Sprint("/proc/", os.Getpid()) {
				continue
			}
			command, _ := os.ReadFile(filepath.Join(proc, "cmdline")) // gone, or another user's
			environment, _ := os.ReadFile(filepath.Join(proc, "environ"))
			if bytes.Contains(command, []byte(d.dir)) || bytes.Contains(environment, []byte(d.dir)) {
				left = append(left, string(bytes.ReplaceAll(bytes.TrimRight(command, "\x00"), []byte{0}, []byte(" "))))
			}
		}
		if len(left) == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return left
}
