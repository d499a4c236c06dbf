// Package generated holds the pages of docs/ that are written from the code. A test renders its page from a template and
// compares; make docs has the same tests write the pages instead.
package generated
