// Package deps holds nothing but a test: who may import whom in this module, with the reason for each rule.
package deps
