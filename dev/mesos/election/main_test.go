package election_test

import (
	"os"
	"testing"

	"github.com/tidemill/tidemill/dev/zookeeper/zookeepertest"
)

func TestMain(m *testing.M) { os.Exit(zookeepertest.Main(m)) }
