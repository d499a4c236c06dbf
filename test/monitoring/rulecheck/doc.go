// Command rulecheck is a Prometheus for a minute: it scrapes processes, evaluates the alerts of a rules file on what it
// scraped, and exits with 0 as soon as it has seen each of the wanted alerts fire.
//
//	rulecheck --scrape=127.0.0.1:9809 --rules=manifests/components/monitoring/prometheusrule.yaml --want=StaleAttachmentsCleared
//
// main.go has the flags, prometheus.go the Prometheus: its own scrape manager, TSDB, PromQL engine and rule manager.
package main
