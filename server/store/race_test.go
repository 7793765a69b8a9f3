//go:build race

package store

// slowness is by how much the race detector slows the database down, which is Go
// code of a kind that it watches closely.
const slowness = 10
