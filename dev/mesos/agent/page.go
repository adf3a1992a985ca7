package agent

import "net/http"

func (a *Agent) servePage(w http.ResponseWriter, r *http.Request) {}
