package wire

import "time"

// Info is about this instance and what it is connected to.
type Info struct {
	Version          string `json:"version" doc:"Of the scheduler"`
	FrameworkID      string `json:"framework_id" doc:"Empty until Mesos has given one"`
	FrameworkProblem string `json:"framework_problem,omitempty" doc:"Why Mesos refused to change the framework to what is configured; it goes on as it was"`

	Leader    string     `json:"leader" doc:"URL of the instance that schedules; empty while none does"`
	Role      string     `json:"role" enum:"leader,standby" doc:"Of this instance"`
	Epoch     uint64     `json:"epoch,omitempty" doc:"Number of the leader's term; each new leader counts one on"`
	Instances []Instance `json:"instances" doc:"That share the store, in the order in which they would lead; this one alone if it has a store of its own"`
	Mesos     Mesos      `json:"mesos"`
	Agents    []Agent    `json:"agents" doc:"As offers and launches showed them"`
	Queue     Queue      `json:"queue"`
	S3        *S3        `json:"s3,omitempty" doc:"Only on the development platform"`
	Kafka     *Kafka     `json:"kafka,omitempty" doc:"Only on the development platform"`
	Warehouse *Warehouse `json:"warehouse,omitempty" doc:"Only on the development platform"`
}

// Instance is one of several schedulers.
type Instance struct {
	URL     string    `json:"url" doc:"Under which the others reach it"`
	Host    string    `json:"host"`
	Version string    `json:"version"`
	Since   time.Time `json:"since" doc:"When it began to take part"`
	Leads   bool      `json:"leads"`
}

// Mesos is the master.
type Mesos struct {
	Master    string `json:"master" doc:"URL of the master; the last one known"`
	Connected bool   `json:"connected" doc:"Whether the subscription stands"`
}

// Agent is a Mesos agent.
type Agent struct {
	ID         string            `json:"id"`
	Host       string            `json:"host"`
	URL        string            `json:"url"`
	Attributes map[string]string `json:"attributes"`
	Tasks      int               `json:"tasks" doc:"Launched there and not ended"`
	Versions   map[string]int    `json:"versions" doc:"The same by executor version"`
	Seen       time.Time         `json:"seen" doc:"When it was last heard of"`

	BackOff     *time.Time   `json:"back_off,omitempty" doc:"Until when nothing is launched there, because attempts kept failing"`
	Maintenance *Maintenance `json:"maintenance,omitempty" doc:"Announced, or going on"`
}

// Maintenance is when an agent will be away.
type Maintenance struct {
	Start time.Time  `json:"start"`
	End   *time.Time `json:"end,omitempty" doc:"Missing: for ever"`
}

// Queue sums up what waits.
type Queue struct {
	Pending       int        `json:"pending" doc:"Tasks that wait"`
	Launched      int        `json:"launched" doc:"Tasks that are launching, starting or running"`
	OldestPending *time.Time `json:"oldest_pending,omitempty"`
}

// S3 is the development platform's object store.
type S3 struct {
	Endpoint  string `json:"endpoint"`
	Region    string `json:"region"`
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
}

// Kafka is the development platform's broker.
type Kafka struct {
	Brokers []string `json:"brokers"`
}

// Warehouse is the development platform's warehouse.
type Warehouse struct {
	URL string `json:"url"`
}

// Health is the answer of the probes.
type Health struct {
	Status string `json:"status" enum:"ok,standby,disconnected,blind" doc:"standby: ready, another instance leads; disconnected: ready, but Mesos cannot be reached at present; blind: not ready, the store cannot be read"`
}
