package scheduler

// Core is the whole state of the scheduler and the only thing that changes it.
type Core struct {
	cfg Config
}

// New builds a Core from what is stored. A record that cannot be understood is an error that names its key.
func New(cfg Config, records []Record) (*Core, error) {
	return &Core{cfg: cfg}, nil
}

// Step handles one event and returns all that follows from it. It never blocks.
func (c *Core) Step(in Input) Actions {
	return Actions{}
}

// View returns a picture of the state after the last Step. What has not changed since the last View is shared with it.
func (c *Core) View() *View {
	return &View{}
}
