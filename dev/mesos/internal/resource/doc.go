// Package resource is what dev/mesos knows about resources and attributes beyond
// mesos-go's algebra: the text of the flags --resources and --attributes, the
// order and the spelling that Mesos uses in offers and error messages.
package resource
