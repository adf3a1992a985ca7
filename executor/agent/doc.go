// Package agent is an executor's connection to the Mesos agent that started it: the v1 executor API over HTTP, with
// mesos-go's messages as protobuf and RecordIO, and a client of our own.
//
// The words are Mesos' own. An executor reads its [Environment], subscribes, and gets events from the [Subscription]
// until that breaks; everything it says goes by calls on other connections.
//
// Package executor is the only caller. It must
//
//  1. subscribe again when a subscription ends or a call fails without an answer, within Environment's times;
//  2. name what the agent has not acknowledged in each subscription;
//  3. treat a record that cannot be decoded as the end of the subscription: the agent tells what is lost only then.
package agent
