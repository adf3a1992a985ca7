// Package storagetest is the conformance suite that every storage.Store passes,
// decorators included. An implementation's tests describe themselves by a
// Target and call Run; what Run checks is what callers of storage rely on.
package storagetest
