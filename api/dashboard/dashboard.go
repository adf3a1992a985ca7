// Package dashboard is the page for people: what runs, how far it is, why it waits, and what went wrong. Its files hold
// no data; the page reads the API like any other client, and asks for the token when one is needed.
package dashboard

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed index.html assets
var files embed.FS

// Handler serves GET / and GET /assets/{file}.
func Handler() http.Handler {
	assets := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cache-Control", "no-cache")
		if r.URL.Path != "/" {
			if _, err := fs.Stat(files, r.URL.Path[1:]); err != nil {
				http.NotFound(w, r)
				return
			}
		}
		assets.ServeHTTP(w, r)
	})
}
