package main

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"strings"

	"github.com/boombuler/barcode/qr"

	"xmpp-gw/internal/ownfile"
)

// quietZone is the light border that readers need, in modules (ISO/IEC 18004
// §6.3.8).
const quietZone = 4

// qrPixels is the width of a module in a picture.
const qrPixels = 8

// qrCode is a QR code with its quiet zone: square, row by row, true is dark.
type qrCode [][]bool

// encodeQR makes the code of text, with error correction for 15 % of it.
func encodeQR(text string) (qrCode, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return nil, err
	}
	bounds := code.Bounds()
	rows := make(qrCode, bounds.Dy()+2*quietZone)
	for y := range rows {
		rows[y] = make([]bool, bounds.Dx()+2*quietZone)
	}
	for y := range bounds.Dy() {
		for x := range bounds.Dx() {
			rows[y+quietZone][x+quietZone] = code.At(x, y) == color.Black
		}
	}
	return rows, nil
}

// text draws the code in half blocks, two rows a line. In colour it is black on
// white, whatever the terminal's own are; without, the light modules are what is
// drawn, as most terminals are dark.
func (q qrCode) text(colour bool) string {
	var b strings.Builder
	at := func(x, y int) bool { return y < len(q) && q[y][x] == colour }
	for y := 0; y < len(q); y += 2 {
		var line strings.Builder
		for x := range q[y] {
			line.WriteRune(map[[2]bool]rune{
				{false, false}: ' ', {true, false}: '▀', {false, true}: '▄', {true, true}: '█',
			}[[2]bool{at(x, y), at(x, y+1)}])
		}
		b.WriteString(paint(colour, "30;107", line.String()))
		b.WriteByte('\n')
	}
	return b.String()
}

// png is the code as a picture.
func (q qrCode) png() ([]byte, error) {
	side := len(q) * qrPixels
	picture := image.NewPaletted(image.Rect(0, 0, side, side), color.Palette{color.White, color.Black})
	for y := range side {
		for x := range side {
			if q[y/qrPixels][x/qrPixels] {
				picture.SetColorIndex(x, y, 1)
			}
		}
	}
	var b bytes.Buffer
	err := png.Encode(&b, picture)
	return b.Bytes(), err
}

// writeQR writes the code of text to file, which must not be there yet: it may
// be a secret, and another one may be there.
func writeQR(file, text string) error {
	code, err := encodeQR(text)
	if err != nil {
		return err
	}
	picture, err := code.png()
	if err != nil {
		return err
	}
	err = ownfile.Create(file, picture)
	switch {
	case errors.Is(err, fs.ErrExist):
		return &problem{what: "the picture is not written", why: file + " is there already", hint: "name another file with --png FILE", err: err}
	case err != nil:
		return &problem{what: "the picture is not written", why: err.Error(), hint: "name another file with --png FILE", err: err}
	}
	return nil
}
