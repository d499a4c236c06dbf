package controller

import "testing"

// Each field is checked by itself, and its limit is allowed.
func TestConfiguration(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		valid  bool
	}{
		"as it is":                  {func(*Config) {}, true},
		"no grace period":           {func(c *Config) { c.GracePeriod = 0 }, true},
		"no fence delay":            {func(c *Config) { c.FenceDelay = 0 }, true},
		"nobody may wait":           {func(c *Config) { c.MaxWaiting = 0 }, true},
		"no address":                {func(c *Config) { c.Address = "" }, false},
		"no port":                   {func(c *Config) { c.Port = 0 }, false},
		"a negative grace period":   {func(c *Config) { c.GracePeriod = -1 }, false},
		"a negative fence delay":    {func(c *Config) { c.FenceDelay = -1 }, false},
		"fewer than nobody waiting": {func(c *Config) { c.MaxWaiting = -1 }, false},
		"no directory":              {func(c *Config) { c.Directory = "" }, false},
		"no cluster ID":             {func(c *Config) { c.ClusterID = "" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			config := Config{Address: "192.0.2.1", Port: 4420, GracePeriod: 1, FenceDelay: 1, MaxWaiting: 1, Directory: "rds-csi", ClusterID: "cluster-1"}
			test.change(&config)
			if _, err := New(config, nil, nil, Observer{}); (err == nil) != test.valid {
				t.Errorf("got %v, want it accepted: %t", err, test.valid)
			}
		})
	}
}
