package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/tools/benchmark/parse"
)

// engine runs the stream engine's own benchmarks, each beside encoding/xml's
// tokens over the same stanza, and reports the best of several short turns: on a
// machine that does other things as well, the best is what the code costs.
func engine(rounds int) error {
	cmd := exec.Command("go", "test", "-run", "^$", "-bench", "^BenchmarkReader", "-benchmem", "-benchtime", "200ms",
		"-count", fmt.Sprint(rounds), "xmpp-gw/internal/xmppstream")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("the stream engine's benchmarks: %w", err)
	}
	set, err := parse.ParseSet(bytes.NewReader(out))
	if err != nil {
		return err
	}
	best := map[string]*parse.Benchmark{}
	for name, runs := range set {
		name, _, _ = strings.Cut(strings.TrimPrefix(name, "BenchmarkReader"), "-")
		for _, run := range runs {
			if best[name] == nil || run.NsPerOp < best[name].NsPerOp {
				best[name] = run
			}
		}
	}
	for _, name := range []string{"Chat", "OMEMO"} {
		ours, theirs := best[name], best[name+"Baseline"]
		if ours == nil || theirs == nil {
			return errors.New("the stream engine's benchmarks are not the ones that are looked for")
		}
		label := "engine." + strings.ToLower(name)
		report(label, ours.NsPerOp, "ns")
		report(label+".allocs", float64(ours.AllocsPerOp), "allocs(want=0)")
		report(label+".ratio", theirs.NsPerOp/ours.NsPerOp, "times-encoding/xml(want>=10)")
	}
	return nil
}
