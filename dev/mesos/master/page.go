package master

import "net/http"

func (m *Master) servePage(w http.ResponseWriter, r *http.Request) {}
