package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// TestMain makes this binary xmpp-gw when it is told to be it, so that the tests
// run the program as a process without building it twice.
func TestMain(m *testing.M) {
	if os.Getenv("XMPP_GW_TEST_MAIN") != "" {
		os.Exit(run(os.Args, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// program is a command that runs xmpp-gw in dir, with an environment that has
// nothing of the machine's in it.
func program(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Args[0] = "xmpp-gw"
	cmd.Dir = dir
	cmd.Env = []string{
		"XMPP_GW_TEST_MAIN=1", "HOME=" + dir, "XDG_RUNTIME_DIR=" + filepath.Join(dir, "run"),
		"PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0", "GOCOVERDIR=" + os.Getenv("GOCOVERDIR"),
	}
	return cmd
}

// TestScripts runs testdata/*.txt. Each is a txtar archive: its files are put
// into an empty folder, and its comment is the script, in lines of
//
//	$ xmpp-gw ARGS     run the command there; it must exit with 0, unless
//	exit N             its exit code is this
//	stdout TEXT        its standard output has this text in it (or after "!", not)
//	stderr TEXT        likewise
//	match stdout RE    its standard output matches the regular expression
//	silent stdout      its standard output is empty
//	mode OCTAL FILE    the file has this mode
//	! exists FILE      the file does not exist (without "!": it does)
//	stdin TEXT         for the next command
//	env NAME=VALUE     for the commands that follow
//	# …                a remark
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := &script{t: t, dir: t.TempDir()}
			for _, f := range archive.Files {
				name := filepath.Join(s.dir, f.Name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, f.Data, 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			n := 0
			for line := range strings.Lines(string(archive.Comment)) {
				n++
				s.at = fmt.Sprintf("%s:%d", file, n)
				s.line(strings.TrimSpace(line))
			}
			s.settle()
		})
	}
}

type script struct {
	t   *testing.T
	dir string
	env []string
	at  string // file:line

	stdin          string // of the next command
	ran            string // the command, empty before the first
	stdout, stderr string
	code           int // its exit code; 0 once it was expected
}

func (s *script) errorf(format string, args ...any) {
	s.t.Helper()
	s.t.Errorf("%s: %s\n$ %s\nexit %d\n%s%s", s.at, fmt.Sprintf(format, args...), s.ran, s.code, s.stdout, s.stderr)
}

// settle complains of an exit code that nothing asked for.
func (s *script) settle() {
	if s.code != 0 {
		s.errorf("the command before this failed")
	}
}

func (s *script) line(line string) {
	s.t.Helper()
	line, not := strings.CutPrefix(line, "! ")
	verb, rest, _ := strings.Cut(line, " ")
	output := func() *string {
		name, text, _ := strings.Cut(rest, " ")
		rest = text
		if name == "stdout" {
			return &s.stdout
		}
		return &s.stderr
	}
	switch verb {
	case "", "#":
	case "stdin":
		s.stdin = rest + "\n"
	case "env":
		s.env = append(s.env, strings.ReplaceAll(rest, "$DIR", s.dir))
	case "$":
		s.settle()
		s.run(strings.TrimPrefix(rest, "xmpp-gw"))
	case "exit":
		if fmt.Sprint(s.code) != rest {
			s.errorf("exit code %d, want %s", s.code, rest)
		}
		s.code = 0
	case "stdout", "stderr":
		rest = line
		out := output()
		if strings.Contains(*out, strings.ReplaceAll(rest, "$DIR", s.dir)) == not {
			s.errorf("%s, want (not: %v) %q", verb, not, rest)
		}
	case "match":
		out := output()
		if regexp.MustCompile(rest).MatchString(*out) == not {
			s.errorf("no match (not: %v) of %s", not, rest)
		}
	case "silent":
		if out := output(); *out != "" {
			s.errorf("%q is not silent", *out)
		}
	case "mode":
		mode, name, _ := strings.Cut(rest, " ")
		info, err := os.Stat(filepath.Join(s.dir, name))
		if err != nil || fmt.Sprintf("%04o", info.Mode().Perm()) != mode {
			s.errorf("%s: %v, want mode %s (%v)", name, info, mode, err)
		}
	case "exists":
		if _, err := os.Stat(filepath.Join(s.dir, rest)); (err == nil) == not {
			s.errorf("exists (not: %v) %s: %v", not, rest, err)
		}
	default:
		s.t.Fatalf("%s: unknown verb %q", s.at, verb)
	}
}

func (s *script) run(args string) {
	s.t.Helper()
	s.ran = "xmpp-gw" + args
	cmd := program(s.dir, strings.Fields(args)...)
	cmd.Env = append(cmd.Env, s.env...)
	var stdout, stderr strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(s.stdin), &stdout, &stderr
	s.stdin = ""
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		s.t.Fatalf("%s: %v", s.at, err)
	}
	s.stdout, s.stderr, s.code = stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}
