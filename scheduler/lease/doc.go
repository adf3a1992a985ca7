// Package lease decides which of several schedulers leads.
//
// A [Lease] is asked for leadership; a [Term] is leadership that was given, from then until it is lost. What keeps an old
// leader's writes out is not the lease but the store (see scheduler/store): the lease keeps two leaders from trying.
//
// [ZooKeeper] is the lease of several instances that share an ensemble, [Alone] that of one which needs no other's
// consent, because its store lets no second one in.
//
// Callers: cmd/internal/service acquires a term, opens the store under it and runs scheduler/loop until the term is
// over; scheduler/mesos asks [Term.Valid] before each call that it sends.
package lease
