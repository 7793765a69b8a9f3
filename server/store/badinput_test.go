package store

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// filledFile makes a database of some hundred pages and gives its path.
func filledFile(t *testing.T) string {
	t.Helper()
	path := newFile(t)
	d := opened(t, "sqlite:"+path)
	var entries []ArchiveAppend
	for i := range 2000 {
		entries = append(entries, ArchiveAppend{juliet, date(int64(i)), romeo, fmt.Appendf(nil, "<m%d>%0500d</m>", i, i)})
	}
	archived(t, d, entries...)
	must(t, d.Close())
	return path
}

func TestRefusedFiles(t *testing.T) {
	overwrite := func(path string, at int64, n int) error {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteAt([]byte(strings.Repeat("\xa5\x5a", n/2)), at)
		return err
	}
	tests := []struct {
		name  string
		spoil func(path string) error
		want  string
	}{
		{"damaged pages", func(p string) error { return overwrite(p, 40*4096, 20*4096) }, "damaged"},
		{"damaged schema", func(p string) error { return overwrite(p, 100, 3000) }, "damaged"},
		{"damaged head", func(p string) error { return overwrite(p, 0, 100) }, "no SQLite database"},
		{"cut in half", func(p string) error {
			info, err := os.Stat(p)
			if err != nil {
				return err
			}
			return os.Truncate(p, info.Size()/2)
		}, "damaged"},
		{"cut to a few bytes", func(p string) error { return os.Truncate(p, 50) }, "damaged"},
		{"cut to nothing", func(p string) error { return os.Truncate(p, 0) }, "the file is empty"},
		{"another file", func(p string) error {
			return os.WriteFile(p, []byte(strings.Repeat("# configuration\n", 1000)), 0o600)
		}, "no SQLite database"},
		{"others may read", func(p string) error { return os.Chmod(p, 0o644) }, "chmod 600"},
		{"others may write the folder", func(p string) error { return os.Chmod(filepath.Dir(p), 0o770) }, "chmod 700"},
		{"a folder", func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) }, "not a regular file"},
		{"a newer version", func(p string) error {
			db, err := sql.Open("sqlite", p)
			if err != nil {
				return err
			}
			defer db.Close()
			_, err = db.Exec(`UPDATE meta SET value = 1000 WHERE name = 'schema'`)
			return err
		}, "newer version of this program (schema 1000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filledFile(t)
			must(t, tt.spoil(path))
			before, _ := os.ReadFile(path)
			for range 2 { // and the refusal lets go of the file
				d, err := Open(context.Background(), "sqlite:"+path, Options{})
				if err == nil {
					d.Close()
					t.Fatal("it was opened")
				}
				if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) && !strings.Contains(err.Error(), filepath.Dir(path)) {
					t.Fatalf("%v\nwant %q and the path in it", err, tt.want)
				}
			}
			if after, _ := os.ReadFile(path); string(before) != string(after) {
				t.Error("the refused file was changed")
			}
		})
	}
}

func TestBadAddresses(t *testing.T) {
	for _, dsn := range []string{"", "sqlite", "sqlite:", "node.db", "mysql://x", "postgres://%zz"} {
		if d, err := Open(context.Background(), dsn, Options{}); err == nil {
			d.Close()
			t.Errorf("%q was opened", dsn)
		}
	}
}

// A path is a path, whatever is in it; files and folder are this user's alone.
func TestOddPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b", "c?mode=memory&x=%41#d")
	path := filepath.Join(dir, "node db?.sqlite")
	d := opened(t, "sqlite:"+path)
	must(t, d.CreateAccount(context.Background(), Account{Address: juliet}, nil))
	for p, mode := range map[string]fs.FileMode{dir: 0o700, path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600, path + ".lock": 0o600} {
		info, err := os.Stat(p)
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want mode %o", p, info, err, mode)
		}
	}
	must(t, d.Close())
	d = opened(t, "sqlite:"+path)
	must(t, second(d.Account(context.Background(), juliet)))
}

func TestSecondDaemon(t *testing.T) {
	path := newFile(t)
	first := opened(t, "sqlite:"+path)
	_, err := Open(context.Background(), "sqlite:"+path, Options{})
	if err == nil || !strings.Contains(err.Error(), "another process has it open") {
		t.Errorf("a second one: %v", err)
	}
	must(t, first.CreateAccount(context.Background(), Account{Address: juliet}, nil))
	must(t, first.Close())
	must(t, second(opened(t, "sqlite:"+path).Account(context.Background(), juliet)))
}

// full fills the disk under d and says what was acknowledged until then.
func full(t *testing.T, d *DB) (acknowledged int) {
	t.Helper()
	ctx := context.Background()
	raw := []byte(strings.Repeat("x", 3000))
	for i := 0; ; i++ {
		if i == 10_000 {
			t.Fatal("the disk does not fill")
		}
		_, p := d.Archive(ctx, []ArchiveAppend{{juliet, date(0), romeo, raw}})
		err := p.Err()
		if err == nil {
			acknowledged++
			continue
		}
		if !strings.Contains(err.Error(), "full") {
			t.Fatalf("the error of a full disk: %v", err)
		}
		break
	}
	// Whatever is too big fails whole.
	if err := d.PutDocument(ctx, juliet, "k", "big", make([]byte, 1<<20), 0); err == nil || !strings.Contains(err.Error(), "full") {
		t.Errorf("a big write on a full disk: %v", err)
	}
	_, err := d.Document(ctx, juliet, "k", "big")
	want(t, err, ErrNotFound)
	intact(t, d, acknowledged)
	return acknowledged
}

func intact(t *testing.T, d *DB, acknowledged int) {
	t.Helper()
	page, err := d.QueryArchive(context.Background(), juliet, ArchiveQuery{Total: true})
	if err != nil || page.Total != acknowledged || len(page.Entries) != acknowledged {
		t.Errorf("%d entries, %v; %d were acknowledged", page.Total, err, acknowledged)
	}
	messages(t, d, acknowledged)
	must(t, d.Check(context.Background()))
}

// A database that may have no more pages is what a full disk is, for everybody.
func TestFullDatabase(t *testing.T) {
	for _, dsn := range []string{"sqlite::memory:", "sqlite:" + newFile(t)} {
		t.Run(dsn[:9], func(t *testing.T) {
			d := opened(t, dsn)
			limit := func(pages int) {
				must(t, d.update(context.Background(), func(tx *tx) error {
					return tx.get(fmt.Sprintf(`PRAGMA max_page_count = %d`, pages), nil, &pages)
				}))
			}
			limit(200)
			n := full(t, d)
			limit(1 << 30)
			archived(t, d, ArchiveAppend{juliet, date(0), romeo, nil})
			intact(t, d, n+1)
		})
	}
}

// TestChild, in another process, opens the file of STORE_TEST_CHILD, writes all kinds
// of things, and says so when they are acknowledged.
func TestChild(t *testing.T) {
	path := os.Getenv("STORE_TEST_CHILD")
	if path == "" {
		return // it is only called by TestKill
	}
	d, err := Open(context.Background(), "sqlite:"+path, Options{})
	must(t, err)
	ctx := context.Background()
	say := func(format string, args ...any) {
		if _, err := fmt.Fprintf(os.Stdout, "ack "+format+"\n", args...); err != nil {
			os.Exit(1)
		}
	}
	for w := range 8 {
		go func() {
			for i := 0; ; i++ {
				ids, p := d.Archive(ctx, []ArchiveAppend{{juliet, date(0), romeo, fmt.Appendf(nil, "<%d-%d/>", w, i)}, {romeo, date(0), juliet, fmt.Appendf(nil, "<%d-%d/>", w, i)}})
				must(t, p.Err())
				say("archive %s", ids[0])
				id, err := d.PushOffline(ctx, juliet, date(0), []byte("<m/>"), 0, 0)
				must(t, err)
				say("offline %d", id)
				contact := fmt.Sprintf("c%d-%d-%d@x.example", os.Getpid(), w, i)
				must(t, second(d.PutRosterItem(ctx, juliet, RosterItem{Contact: addr(contact), InRoster: true}, 0)))
				say("roster %s", contact)
			}
		}()
	}
	select {}
}

// What was acknowledged is there after kill -9, however often.
func TestKill(t *testing.T) {
	path := newFile(t)
	var acks []string
	for round := range 3 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
		cmd.Env = append(os.Environ(), "STORE_TEST_CHILD="+path)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		n := 0
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if ack, ok := strings.CutPrefix(lines.Text(), "ack "); ok {
				acks = append(acks, ack)
				n++
			}
			if n == 1 {
				_, err := Open(context.Background(), "sqlite:"+path, Options{})
				if err == nil || !strings.Contains(err.Error(), "another process") {
					t.Errorf("while another process has the file: %v", err)
				}
			}
			if n == 1000+round*137 {
				must(t, cmd.Process.Kill())
			}
		}
		_ = cmd.Wait() // killed
		if n < 1000 {
			t.Fatalf("the child wrote %d times only", n)
		}
		acknowledged(t, path, acks)
	}
}

func acknowledged(t *testing.T, path string, acks []string) {
	t.Helper()
	ctx := context.Background()
	d := opened(t, "sqlite:"+path)
	defer d.Close()
	must(t, d.Check(ctx))
	there := map[string]bool{}
	page, err := d.QueryArchive(ctx, romeo, ArchiveQuery{})
	must(t, err)
	for _, e := range page.Entries {
		there["archive "+e.ID] = true
	}
	messages(t, d, len(page.Entries))
	list, err := d.OfflineMessages(ctx, juliet, 0, 0)
	must(t, err)
	for _, m := range list {
		there[fmt.Sprint("offline ", m.ID)] = true
	}
	r, err := d.Roster(ctx, juliet)
	must(t, err)
	for _, it := range r.Items {
		there["roster "+it.Contact.String()] = true
	}
	lost := 0
	for _, a := range acks {
		if !there[a] {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d acknowledged writes are lost", lost, len(acks))
	}
	if n, err := d.CountOffline(ctx, juliet); err != nil || n != len(list) {
		t.Errorf("the count of waiting messages is %d, %v; there are %d", n, err, len(list))
	}
}

// Many open and close the same file one after the other, as commands do.
func TestOpenAgain(t *testing.T) {
	path := newFile(t)
	var wg sync.WaitGroup
	for i := range 5 {
		d := opened(t, "sqlite:"+path)
		wg.Go(func() { must(t, d.AddBlocks(context.Background(), juliet, nil, i)) })
		wg.Wait()
		must(t, d.Close())
	}
}
