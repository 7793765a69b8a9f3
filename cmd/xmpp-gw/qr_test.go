package main

import (
	"bytes"
	"errors"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const qrSample = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcd:descriptor:x25519:ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZ"

// finder reports whether a finder pattern (ISO/IEC 18004 §6.3.3.1) stands with
// its upper left corner at x, y.
func finder(q qrCode, x, y int) bool {
	for dy := range 7 {
		for dx := range 7 {
			ring := max(max(dx, 6-dx), max(dy, 6-dy)) // 6 outside, 5, 4, 3 in the middle
			if q[y+dy][x+dx] != (ring != 5) {
				return false
			}
		}
	}
	return true
}

// What is on the terminal and in the picture is the same code, with its border
// and the three corners by which readers find it.
func TestQR(t *testing.T) {
	q, err := encodeQR(qrSample)
	if err != nil {
		t.Fatal(err)
	}
	n := len(q)
	far := n - quietZone - 7
	if !finder(q, quietZone, quietZone) || !finder(q, far, quietZone) || !finder(q, quietZone, far) {
		t.Error("a finder pattern is missing")
	}
	for i := range n {
		for b := range quietZone {
			if q[b][i] || q[n-1-b][i] || q[i][b] || q[i][n-1-b] {
				t.Fatal("the border is not light")
			}
		}
	}

	for _, colour := range []bool{true, false} {
		lines := strings.Split(strings.TrimSuffix(q.text(colour), "\n"), "\n")
		for y := range q {
			line := strings.TrimSuffix(strings.TrimPrefix(lines[y/2], "\x1b[30;107m"), "\x1b[0m")
			for x, r := range []rune(line) {
				drawn := r == '█' || r == map[int]rune{0: '▀', 1: '▄'}[y%2]
				if (drawn == colour) != q[y][x] {
					t.Fatalf("colour %v: row %d column %d is %q, dark: %v", colour, y, x, r, q[y][x])
				}
			}
		}
	}

	b, err := q.png()
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(b))
	if err != nil || picture.Bounds().Dx() != n*qrPixels {
		t.Fatalf("a picture of %v, %v", picture.Bounds(), err)
	}
	for y := range q {
		for x := range q[y] {
			if r, _, _, _ := picture.At(x*qrPixels+qrPixels/2, y*qrPixels+qrPixels/2).RGBA(); (r == 0) != q[y][x] {
				t.Fatalf("the picture is wrong at %d, %d", x, y)
			}
		}
	}
}

func TestWriteQR(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.png")
	if err := writeQR(file, qrSample); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	before, _ := os.ReadFile(file)
	if err := writeQR(file, "another"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("written over: %v", err)
	}
	if after, _ := os.ReadFile(file); !bytes.Equal(before, after) {
		t.Error("the file changed")
	}
	if err := writeQR(filepath.Join(file, "x"), qrSample); err == nil {
		t.Error("written below a file")
	}
	if _, err := encodeQR(strings.Repeat("x", 5000)); err == nil {
		t.Error("there is a code for 5000 bytes")
	}
}
