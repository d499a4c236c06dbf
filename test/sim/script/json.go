package script

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// jsonStyle says how :serialize to=json writes values.
type jsonStyle struct {
	keepStrings   bool
	emptyAsString bool
	rawControls   bool
}

// encode writes v as one line of JSON with sorted keys.
func (s jsonStyle) encode(v Value) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s.plain(v)); err != nil {
		return "", fmt.Errorf("encode JSON: %w", err)
	}
	encoded := string(bytes.TrimRight(b.Bytes(), "\n"))
	if s.rawControls {
		// The escaped backslash comes first: what follows it is no escape.
		encoded = strings.NewReplacer(`\\`, `\\`, `\r`, "\r", `\n`, "\n").Replace(encoded)
	}
	return encoded, nil
}

// plain turns v into what encoding/json writes in RouterOS' shape.
func (s jsonStyle) plain(v Value) any {
	switch v := v.(type) {
	case List:
		if len(v) == 0 && s.emptyAsString {
			return ""
		}
		items := make([]any, 0, len(v))
		for _, item := range v {
			items = append(items, s.plain(item))
		}
		return items
	case Record:
		fields := make(map[string]any, len(v))
		for key, value := range v {
			fields[key] = s.plain(value)
		}
		return fields
	case time.Duration:
		return formatTime(v)
	case string:
		return s.text(v)
	default:
		return v
	}
}

// text turns numeric-looking strings into floats unless told to keep them,
// which is the trap json.no-string-conversion exists for.
func (s jsonStyle) text(v string) any {
	if s.keepStrings {
		return v
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return v
	}
	return json.Number(strconv.FormatFloat(float64(n), 'f', 6, 64))
}
