// Package dashboard is the page for people: what runs, how far it is, why it waits, and what went wrong. Its files hold
// no data; the page reads the API like any other client, and asks for the token when one is needed.
//
// index.html and assets are sent as they are, without a build step: api.js calls the API, dom.js makes elements out of
// data without ever parsing markup, parts.js holds what both pages share, overview.js and run.js are the pages, log.js is
// the window of a task's log, main.js decides what is shown and keeps it fresh. Package api serves the Handler.
package dashboard
