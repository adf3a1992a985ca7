package store_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	devserver "github.com/tidemill/tidemill/dev/zookeeper"
	"github.com/tidemill/tidemill/dev/zookeeper/zookeepertest"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/store"
	"github.com/tidemill/tidemill/scheduler/store/storetest"
	"github.com/tidemill/tidemill/scheduler/zookeeper"
)

const sessionTimeout = 10 * time.Second // or the most that the server gives

// led is a leader with a session of its own.
type led struct {
	*store.Leader
	session *zookeeper.Session
}

func (l led) Close() error {
	err := l.Leader.Close()
	l.session.Close()
	return err
}

func lead(url string) (led, error) {
	session, err := connect(url)
	if err != nil {
		return led{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	leader, err := store.NewZooKeeper(session, slog.Default()).Lead(ctx, "")
	if err != nil {
		session.Close()
		return led{}, err
	}
	return led{leader, session}, nil
}

func connect(text string) (*zookeeper.Session, error) {
	url, err := zookeeper.ParseURL(text)
	if err != nil {
		return nil, err
	}
	return zookeeper.Connect(url, zookeeper.Config{SessionTimeout: sessionTimeout, Log: slog.New(slog.DiscardHandler)}), nil
}

func TestZooKeeperConformance(t *testing.T) {
	server := zookeepertest.Shared(t)
	storetest.Run(t, func(t *testing.T) storetest.Place {
		url := zookeepertest.URL(t, server.Address(), "user:secret")
		return storetest.Place{
			Open:      func() (store.Store, error) { return lead(url) },
			Fits:      255 << 10,
			TooLarge:  256 << 10,
			TakesOver: true,
		}
	})
}

// BenchmarkZooKeeper measures with a server of its own that waits for the disk.
func BenchmarkZooKeeper(b *testing.B) {
	server := zookeepertest.Start(b, devserver.Config{TickTime: time.Second, HeapMiB: 512})
	s, err := lead(zookeepertest.URL(b, server.Address(), "user:secret"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	}()
	task, executor := make([]byte, 400), make([]byte, 1024)
	next := 0
	// launches are n task records, and an executor record for every tenth.
	launches := func(n int) (changes []scheduler.Change) {
		for range n {
			next++
			changes = append(changes, scheduler.Change{Key: scheduler.Key{Kind: scheduler.KindTask, ID: fmt.Sprint("run-", next)}, Value: task})
			if next%10 == 0 {
				changes = append(changes, scheduler.Change{Key: scheduler.Key{Kind: scheduler.KindExecutor, ID: fmt.Sprint("run-", next)}, Value: executor})
			}
		}
		return changes
	}
	for _, size := range []int{1, 32, 512} {
		b.Run(fmt.Sprintf("commit/%d", size), func(b *testing.B) {
			for b.Loop() {
				if err := s.Commit(b.Context(), launches(size)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "launches/s")
		})
	}
	for next < 100_000 {
		if err := s.Commit(b.Context(), launches(500)); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("lead", func(b *testing.B) {
		for b.Loop() {
			leader, err := store.NewZooKeeper(s.session, slog.New(slog.DiscardHandler)).Lead(b.Context(), "")
			if err != nil {
				b.Fatal(err)
			}
			s.Leader = leader
		}
	})
	b.Run("load", func(b *testing.B) {
		records := 0
		for b.Loop() {
			all, err := s.Load(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			records = len(all)
		}
		b.ReportMetric(float64(records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	})
	follower := store.NewZooKeeper(s.session, slog.New(slog.DiscardHandler)).Follower()
	if _, err := follower.Snapshot(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Run("follow", func(b *testing.B) { // a snapshot after each commit
		for b.Loop() {
			if err := s.Commit(b.Context(), launches(32)); err != nil {
				b.Fatal(err)
			}
			if _, err := follower.Snapshot(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
