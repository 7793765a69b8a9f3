package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
)

// profile writes a CPU and, at its end, a heap profile into dir, for whoever wants
// to know where the time goes. "" writes none.
func profile(dir string) (stop func(), err error) {
	if dir == "" {
		return func() {}, nil
	}
	name := filepath.Join(dir, fmt.Sprint(os.Getpid()))
	f, err := os.Create(name + ".cpu")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
		h, err := os.Create(name + ".heap")
		if err != nil {
			return
		}
		runtime.GC()
		_ = pprof.WriteHeapProfile(h)
		_ = h.Close()
	}, nil
}
