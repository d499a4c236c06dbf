// Package rulefile finds Prometheus' rules in a PrometheusRule.
package rulefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// Plain returns the rules as a rules file of Prometheus has them. content is such a file, or YAML documents of which one is
// a PrometheusRule.
func Plain(content []byte) ([]byte, error) {
	documents := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var document struct {
			Kind   string    `yaml:"kind"`
			Groups yaml.Node `yaml:"groups"`
			Spec   yaml.Node `yaml:"spec"`
		}
		err := documents.Decode(&document)
		switch {
		case errors.Is(err, io.EOF):
			return nil, errors.New("no rules: want a rules file of Prometheus, or a PrometheusRule")
		case err != nil:
			return nil, fmt.Errorf("read the rules: %w", err)
		case document.Kind == "PrometheusRule":
			return yaml.Marshal(&document.Spec)
		case document.Kind == "" && !document.Groups.IsZero():
			return content, nil
		}
	}
}
