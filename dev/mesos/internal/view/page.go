package view

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
)

// Style is the look of all pages.
//
//go:embed page.css
var Style string

// Page is a page's template; it may use {{style}}.
func Page(name, text string) *template.Template {
	return template.Must(template.New(name).Funcs(template.FuncMap{
		"style": func() template.CSS { return template.CSS(Style) },
	}).Parse(text))
}

// WritePage fills a template in and answers with it.
func WritePage(w http.ResponseWriter, page *template.Template, data any) {
	var body bytes.Buffer
	if err := page.Execute(&body, data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	w.Write(body.Bytes()) //nolint:errcheck // the peer may be gone; there is nobody to tell
}
