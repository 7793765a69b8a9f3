package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// hold keeps the writer busy until release.
func hold(t *testing.T, d *DB) (release func()) {
	t.Helper()
	begun, end := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- d.update(context.Background(), func(*tx) error { close(begun); <-end; return nil })
	}()
	<-begun
	return sync.OnceFunc(func() { close(end); must(t, <-ended) })
}

// waiting waits until n jobs are in the queue.
func waiting(t *testing.T, d *DB, n int) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		d.queue.mu.Lock()
		have := len(d.queue.jobs)
		d.queue.mu.Unlock()
		if have >= n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d writes wait, want %d", have, n)
		}
	}
}

// A write that fails leaves no trace, and leaves those alone that share its
// transaction.
func TestFailureIsItsOwn(t *testing.T) {
	failures := map[string]func(tx *tx, id int64) error{
		"own error": func(tx *tx, id int64) error { return ErrFull },
		"bad statement": func(tx *tx, id int64) error {
			_, err := tx.exec(`INSERT INTO block (owner, blocked) VALUES (?, ?)`, id, nil)
			return err
		},
	}
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		for name, fail := range failures {
			release := hold(t, d)
			const n = 9
			errs := make([]error, n)
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() {
					errs[i] = d.update(ctx, func(tx *tx) error {
						id, err := tx.owner(addr(fmt.Sprintf("%s%d@x.example", name[:3], i)))
						if err != nil {
							return err
						}
						if _, err := tx.exec(`INSERT INTO block (owner, blocked) VALUES (?, 'x.example')`, id); err != nil {
							return err
						}
						if i%3 == 1 {
							return fail(tx, id)
						}
						return nil
					})
				})
				waiting(t, d, i+1)
			}
			release()
			wg.Wait()
			for i, err := range errs {
				failed := i%3 == 1
				if (err != nil) != failed {
					t.Errorf("%s: write %d: %v", name, i, err)
				}
				owner := addr(fmt.Sprintf("%s%d@x.example", name[:3], i))
				list, err := d.Blocks(ctx, owner)
				if err != nil || (len(list) == 0) != failed {
					t.Errorf("%s: write %d left %v, %v", name, i, list, err)
				}
				// Nor is the owner remembered under a number that was taken back.
				if failed {
					must(t, d.PutDocument(ctx, owner, "k", "x", []byte("x"), 1))
					must(t, second(d.Document(ctx, owner, "k", "x")))
				}
			}
		}
	})
}

func TestGivenUpWrite(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		release := hold(t, d)
		defer release()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- d.CreateAccount(ctx, Account{Address: juliet}, nil) }()
		waiting(t, d, 1)
		cancel()
		want(t, <-done, context.Canceled)
		release()
		want(t, second(d.Account(context.Background(), juliet)), ErrNotFound)
	})
}

// When the disk is slower than those who write, they wait.
func TestBackpressure(t *testing.T) {
	d, err := Open(context.Background(), "sqlite:"+newFile(t), Options{Queue: 10_000})
	must(t, err)
	defer d.Close()
	release := hold(t, d)
	defer release()
	var pending []Pending
	raw := make([]byte, 1000)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		ids, p := d.Archive(ctx, []ArchiveAppend{{juliet, date(0), romeo, raw}})
		cancel()
		if len(ids) != 1 || ids[0] == "" {
			t.Fatalf("ids %q", ids)
		}
		select {
		case <-p.Done():
			want(t, p.Err(), context.DeadlineExceeded)
		default:
			pending = append(pending, p)
			continue
		}
		break
	}
	if n := len(pending); n < 7 || n > 10 {
		t.Errorf("%d entries of 1,000 bytes went into a queue of 10,000", n)
	}
	waits := make(chan error)
	go func() {
		_, p := d.Archive(context.Background(), []ArchiveAppend{{juliet, date(1), romeo, raw}})
		waits <- p.Err()
	}()
	release()
	must(t, <-waits)
	for _, p := range pending {
		must(t, p.Err())
	}
	page, err := d.QueryArchive(context.Background(), juliet, ArchiveQuery{Total: true, Max: -1})
	if err != nil || page.Total != len(pending)+1 || len(page.Entries) != 0 {
		t.Errorf("%+v, %v; want %d entries counted and none given", page, err, len(pending)+1)
	}
}

// A lone write does not wait for others to come.
func TestLoneWriteIsQuick(t *testing.T) {
	d, err := Open(context.Background(), "sqlite::memory:", Options{Gather: time.Minute})
	must(t, err)
	defer d.Close()
	began := time.Now()
	archived(t, d, ArchiveAppend{juliet, date(0), romeo, nil}) // the first
	must(t, d.AddBlocks(context.Background(), juliet, nil, 0)) // never gathers
	_, p := d.Archive(context.Background(), []ArchiveAppend{{juliet, date(0), romeo, nil}})
	must(t, d.AddBlocks(context.Background(), juliet, nil, 0)) // takes along what gathers
	must(t, p.Err())
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestClosed(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		_, p := d.Archive(context.Background(), []ArchiveAppend{{juliet, date(0), romeo, nil}})
		must(t, d.Close())
		must(t, p.Err()) // Close waited
		must(t, d.Close())
		want(t, d.CreateAccount(context.Background(), Account{Address: juliet}, nil), errClosed)
		_, p = d.Archive(context.Background(), []ArchiveAppend{{juliet, date(0), romeo, nil}})
		want(t, p.Err(), errClosed)
		if _, err := d.Account(context.Background(), juliet); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("a read after Close: %v", err)
		}
	})
}

// Ten write and read everything at once.
func TestTenAtOnce(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		const writers, rounds = 10, 30
		ctx := context.Background()
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				me := addr(fmt.Sprintf("user%d@capulet.example", w))
				for i := range rounds {
					_, p := d.Archive(ctx, []ArchiveAppend{{juliet, date(int64(i)), me, []byte("<m/>")}, {me, date(int64(i)), juliet, []byte("<m/>")}})
					errs := []error{
						second(d.PutRosterItem(ctx, juliet, RosterItem{Contact: me, InRoster: true}, writers)),
						second(d.PushOffline(ctx, juliet, date(0), []byte("<m/>"), 0, 0)),
						second(d.Roster(ctx, juliet)),
						second(d.OfflineMessages(ctx, juliet, 0, 5)),
						second(d.QueryArchive(ctx, me, ArchiveQuery{Max: 5, Backwards: true})),
						p.Err(),
					}
					if i%10 == 5 {
						errs = append(errs, d.CreateAccount(ctx, Account{Address: me}, nil), d.DeleteAccount(ctx, me))
					}
					if err := errors.Join(errs...); err != nil {
						t.Errorf("writer %d: %v", w, err)
						return
					}
				}
			})
		}
		wg.Wait()
		page, err := d.QueryArchive(ctx, juliet, ArchiveQuery{})
		must(t, err)
		n, err := d.CountOffline(ctx, juliet)
		must(t, err)
		r, err := d.Roster(ctx, juliet)
		must(t, err)
		if len(page.Entries) != writers*rounds || n != writers*rounds || len(r.Items) != writers {
			t.Errorf("%d archived, %d waiting, %d contacts", len(page.Entries), n, len(r.Items))
		}
		must(t, d.Check(ctx))
	})
}
