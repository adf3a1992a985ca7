package wire

import "time"

// Timeline is when the attempts of a run's tasks ran, by agent.
type Timeline struct {
	Run      string    `json:"run"`
	From     time.Time `json:"from" doc:"The first launch"`
	To       time.Time `json:"to" doc:"The last end, or the present"`
	Attempts int       `json:"attempts" doc:"How many there are; bars may stand for several"`
	Agents   []Lane    `json:"agents" doc:"By host"`
	Left     int       `json:"left,omitempty" doc:"Attempts that are not shown because there are too many"`
}

// Lane is an agent's part of a timeline.
type Lane struct {
	Agent string  `json:"agent" doc:"Mesos agent ID"`
	Host  string  `json:"host"`
	Rows  [][]Bar `json:"rows" doc:"The bars of a row follow one another; what ran at a time is in several rows"`
}

// Bar is an attempt, or several short ones of one stage that ended the same way, one after another.
type Bar struct {
	Stage    string     `json:"stage"`
	State    string     `json:"state" enum:"launching,starting,running,finished,failed,killed,lost,unreachable"`
	From     time.Time  `json:"from"`
	To       *time.Time `json:"to,omitempty" doc:"Absent: it goes on"`
	Task     string     `json:"task" doc:"The first one's"`
	Index    uint32     `json:"index" doc:"Of that task in its stage, from 0"`
	Attempt  uint32     `json:"attempt" doc:"Its number, from 1"`
	Attempts int        `json:"attempts,omitempty" doc:"How many the bar stands for, if more than one"`
	Second   bool       `json:"second,omitempty" doc:"One of them was launched beside an attempt that lagged"`
	GivenUp  bool       `json:"given_up,omitempty" doc:"Replaced although Mesos has not said that it ended"`
	Message  string     `json:"message,omitempty" doc:"Why it did not finish, or why it was launched beside another"`
}
