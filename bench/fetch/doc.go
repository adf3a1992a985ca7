// Command fetch measures what a new executor version costs one scheduler: 100 agents fetch its file at the same time. The
// scheduler is the real program in a process of its own, with its objects in a directory and then in an S3; master and
// agents are dev/mesos', which fetch as Mesos does (HEAD, GET, a cache for each agent), check the sum and start the
// executor. Its file is dev/endtoend/shortrun, with random bytes behind it up to the size of a real one.
//
//	go run ./bench/fetch [-agents 100] [-size 80MiB] [-objects directory,s3] [-rate 0]
//
// One run is started for each agent, and lives until all of them run: then each agent has fetched the file. It prints how
// long that took, how many requests agents sent, and the most memory that the scheduler had (VmHWM) before and after;
// -rate bounds what an agent's connection takes, in MiB a second, so that all of them last long. Then the same number of
// runs is started again, for which no agent may ask anything. It needs room for one copy of the file for each agent, and
// fails if an agent fetched the file twice or the scheduler needed 200 MiB.
package main
