package rds

import (
	"errors"
	"strings"
	"testing"
)

func TestNewRefusesWhatCanNotWork(t *testing.T) {
	good := Config{ClusterID: "cluster-1", Port: 4420}
	if _, err := New(good, nil); err != nil {
		t.Errorf("a good configuration: got %v", err)
	}
	for name, test := range map[string]struct {
		change func(*Config)
		field  string
	}{
		"no cluster ID":        {func(c *Config) { c.ClusterID = "" }, "cluster ID"},
		"cluster ID too long":  {func(c *Config) { c.ClusterID = strings.Repeat("c", 65) }, "cluster ID"},
		"cluster ID of spaces": {func(c *Config) { c.ClusterID = "my cluster" }, "cluster ID"},
		"no port":              {func(c *Config) { c.Port = 0 }, "NVMe/TCP port"},
	} {
		t.Run(name, func(t *testing.T) {
			config := good
			test.change(&config)
			_, err := New(config, nil)
			if field := (*FieldError)(nil); !errors.As(err, &field) || field.Field != test.field {
				t.Errorf("got %v, want a FieldError about the %s", err, test.field)
			}
		})
	}
}
