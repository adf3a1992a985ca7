// Package tasktest has a kind of work for tests: each task does what its input says. Tests of the executor, and of what
// stands above it, run themselves as executor and as task processes with it, so that real processes crash, hang and grow.
//
// The input is text, one command a line:
//
//	echo TEXT            write a line to standard output
//	log TEXT             write a line to standard error
//	sleep DURATION       wait, or until the task is to end
//	wait                 until the task is to end, and obey
//	ignore               any request to end from here on, by signal too
//	hang DURATION        wait, whatever happens
//	progress FRACTION    report it, with ten rows for each hundredth
//	allocate SIZE        hold so many bytes more
//	output TEXT          the task's output
//	hand-over            wait until the task is to hand over, and do
//	desert               hand over without having been asked to
//	go-on                the output is what the attempt before handed over, and this one's number
//	file NAME            write a file to the scratch folder
//	touch PATH           create a file anywhere, for the test to see
//	await PATH           until that file is there
//	passing TEXT         fail so that a retry may help
//	final POINTER TEXT   fail for good
//	unsettled TEXT       the same, after a write of which nobody knows whether it happened
//	panic TEXT           in the task's goroutine
//	crash                by a segmentation fault of the process
//	exit STATUS          at once, without a result
package tasktest
