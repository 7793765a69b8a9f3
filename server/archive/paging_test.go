package archive_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"xmpp-gw/server/archive"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/store"
)

// entry is what the model knows of a message.
type entry struct {
	id, with string
	at       int // seconds
}

// fill archives messages and says what they are, oldest first.
func fill(t *testing.T, w *world, n int) (all []entry) {
	peers := []string{"juliet@example.org/balcony", "juliet@example.org/crypt", "paris@example.net/tomb"}
	var entries []store.ArchiveAppend
	for i := range n {
		e := entry{with: peers[i*i%3], at: i / 3 * 10} // some at the same time
		all = append(all, e)
		entries = append(entries, store.ArchiveAppend{
			Owner: w.romeo.JID.Bare(), With: servertest.Address(t, e.with), At: epoch.Add(time.Duration(e.at) * time.Second),
			Raw: fmt.Appendf(nil, "<message xmlns='jabber:client'><body>%d</body></message>", i),
		})
	}
	ids, p := w.db.Archive(t.Context(), entries)
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		all[i].id = ids[i]
	}
	return all
}

// question is a query as the model understands it: indexes into all, -1 for none.
type question struct {
	with          string
	start, end    int
	after, before int // after-id, before-id
	ids           []int
	max           int
	page          string // "", "after", "before", "last"
	from          int    // of page
	flip          bool
}

func (q *question) xml(all []entry) string {
	var f []string
	if q.with != "" {
		f = append(f, "with", q.with)
	}
	stamp := func(s int) string {
		return epoch.Add(time.Duration(s) * time.Second).In(time.FixedZone("", 3600)).Format(time.RFC3339)
	}
	if q.start >= 0 {
		f = append(f, "start", stamp(q.start))
	}
	if q.end >= 0 {
		f = append(f, "end", stamp(q.end))
	}
	if q.after >= 0 {
		f = append(f, "after-id", all[q.after].id)
	}
	if q.before >= 0 {
		f = append(f, "before-id", all[q.before].id)
	}
	x := fields(f...)
	if q.ids != nil {
		var v strings.Builder
		for _, i := range q.ids {
			v.WriteString("<value>" + all[i].id + "</value>")
		}
		x = strings.Replace(x, "</x>", "<field var='ids'>"+v.String()+"</field></x>", 1)
	}
	if len(f) == 0 && q.ids == nil {
		x = ""
	}
	set := fmt.Sprintf("<max>%d</max>", q.max)
	switch q.page {
	case "after", "before":
		set += "<" + q.page + ">" + all[q.from].id + "</" + q.page + ">"
	case "last":
		set += "<before/>"
	}
	x += "<set xmlns='http://jabber.org/protocol/rsm'>" + set + "</set>"
	if q.flip {
		x += "<flip-page/>"
	}
	return ask(x)
}

// answer is the page by the definition, oldest first.
func (q *question) answer(all []entry) (page []int, complete bool) {
	var hits []int
	for i, e := range all {
		bare, _, _ := strings.Cut(e.with, "/")
		if (q.with == "" || q.with == e.with || q.with == bare) && (q.start < 0 || e.at >= q.start) && (q.end < 0 || e.at <= q.end) &&
			(q.after < 0 || i > q.after) && (q.before < 0 || i < q.before) && (q.ids == nil || slices.Contains(q.ids, i)) &&
			(q.page != "after" || i > q.from) && (q.page != "before" || i < q.from) {
			hits = append(hits, i)
		}
	}
	if len(hits) <= q.max {
		return hits, true
	}
	if q.page == "before" || q.page == "last" {
		return hits[len(hits)-q.max:], false
	}
	return hits[:q.max], false
}

// Any query gives what the definition says.
func TestPaging(t *testing.T) {
	w := newWorld(t, archive.Options{})
	all := fill(t, w, 90)
	random := rand.New(rand.NewPCG(3, 13))
	pick := func() int { return random.IntN(len(all)) }
	maybe := func(n int) int {
		if random.IntN(3) > 0 {
			return -1
		}
		return n
	}
	for n := range 300 {
		q := question{start: maybe(random.IntN(300)), end: maybe(random.IntN(300)), after: maybe(pick()), before: maybe(pick()), max: 1 + random.IntN(40), from: pick(), flip: random.IntN(2) == 0}
		q.with = []string{"", "", "juliet@example.org", "juliet@example.org/crypt", "paris@example.net", "nurse@example.org"}[random.IntN(6)]
		q.page = []string{"", "after", "before", "last"}[random.IntN(4)]
		if random.IntN(8) == 0 {
			for range 1 + random.IntN(20) {
				q.ids = append(q.ids, pick())
			}
		}
		check(t, w, n, &q, all)
	}
}

func check(t *testing.T, w *world, n int, q *question, all []entry) (page []int, complete bool) {
	t.Helper()
	list, fin, condition := query(w.romeo, "", q.xml(all))
	if condition != "" {
		t.Fatalf("query %d %+v: %s", n, q, condition)
	}
	page, complete = q.answer(all)
	var got, want []string
	for _, r := range list {
		got = append(got, r.id+" "+r.body+" "+r.stamp)
	}
	for _, i := range page {
		want = append(want, fmt.Sprintf("%s %d %s", all[i].id, i, epoch.Add(time.Duration(all[i].at)*time.Second).Format("2006-01-02T15:04:05.000000Z")))
	}
	if q.flip {
		slices.Reverse(want)
	}
	if !slices.Equal(got, want) || (fin.Attr("complete") == "true") != complete {
		t.Fatalf("query %d %+v: %s\n%v, want\n%v and complete %v", n, q, fin.Append(nil), got, want, complete)
	}
	set := fin.Child("http://jabber.org/protocol/rsm", "set")
	first, last := set.ChildText("http://jabber.org/protocol/rsm", "first"), set.ChildText("http://jabber.org/protocol/rsm", "last")
	if len(page) == 0 && first+last != "" || len(page) > 0 && (first != all[page[0]].id || last != all[page[len(page)-1]].id) {
		t.Fatalf("query %d %+v: %s", n, q, fin.Append(nil))
	}
	return page, complete
}

// Walking forwards and backwards, each message comes once and in order.
func TestWalk(t *testing.T) {
	w := newWorld(t, archive.Options{})
	all := fill(t, w, 57)
	for _, with := range []string{"", "juliet@example.org"} {
		for _, backwards := range []bool{false, true} {
			q := question{with: with, start: -1, end: -1, after: -1, before: -1, max: 7, flip: backwards}
			if backwards {
				q.page = "last"
			}
			var seen []int
			for {
				page, complete := check(t, w, len(seen), &q, all)
				if backwards {
					seen = append(slices.Clone(page), seen...)
					q.page, q.from = "before", page[0]
				} else {
					seen = append(seen, page...)
					q.page, q.from = "after", page[len(page)-1]
				}
				if complete {
					break
				}
			}
			want, _ := (&question{with: with, start: -1, end: -1, after: -1, before: -1, max: 1000}).answer(all)
			if !slices.Equal(seen, want) {
				t.Errorf("with %q, backwards %v: %v", with, backwards, seen)
			}
		}
	}
}
