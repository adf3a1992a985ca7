// Package storetest has the tests that every implementation of store.Store passes.
//
//	func TestConformance(t *testing.T) { storetest.Run(t, func(t *testing.T) storetest.Opener { … }) }
//
// It is imported by tests only.
package storetest
