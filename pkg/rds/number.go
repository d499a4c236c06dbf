package rds

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// number is a count of bytes. In JSON it is a number, or a string with spaces between groups of digits.
type number int64

// UnmarshalJSON accepts 1024, "1024" and "1 024".
func (n *number) UnmarshalJSON(data []byte) error {
	text := strings.ReplaceAll(string(bytes.Trim(data, `"`)), " ", "")
	if text == "" || text == "null" {
		return nil
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("not a whole number: %w", err)
	}
	*n = number(value)
	return nil
}
