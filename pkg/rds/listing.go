package rds

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"golang.org/x/sync/errgroup"
)

const (
	// pageRows is how many items one reply may list. The longest row is a disk of some 1,100 bytes: names and paths at
	// their longest, and a record of 512 bytes. RouterOS loses what is beyond the 2 MiB that an SSH client takes at once.
	pageRows = 1500
	// pagesInFlight is how many pages are asked for at the same time. The transport may allow fewer.
	pagesInFlight = 4
	// maxPageDigits bounds how finely a listing is split: into 4,096 pages at most.
	maxPageDigits = 3
	hexDigits     = "0123456789abcdef"
)

// listing is a question about all items of a menu that fit a condition.
type listing struct {
	kind                     Kind
	menu, marker, properties string
	// where is the condition.
	where func(*command) string
	// Pages are made by the hexadecimal digits in the property by that follow text, from its beginning, and a pattern.
	by, text, pattern string
	// alien includes items without such digits.
	alien bool
	// more adds other reads to every page, unless it is nil. They are of one moment with the page's items.
	more func(*command)
}

// listDisks is about all file-backed disks with slots of this driver, of one cluster unless that is empty.
func listDisks(kind Kind, properties, cluster string) listing {
	where := func(cmd *command) string {
		if cluster == "" {
			return "type=file"
		}
		return "type=file and comment~" + cmd.quoted(recordPrefix(cluster))
	}
	return listing{kind: kind, menu: "/disk", marker: markerDisks, properties: properties, where: where, by: "slot", pattern: slotPrefix}
}

// listFiles is about all files with names of this driver in a folder. below is the pattern of a path from there, or empty.
func listFiles(kind Kind, folder, below string) listing {
	l := listing{kind: kind, menu: "/file", marker: markerFiles, properties: fileProperties, by: "name", text: folder + "/", pattern: below + slotPrefix}
	l.where = func(cmd *command) string { return cmd.begins(l.by, l.text, l.pattern) }
	return l
}

// everybodys includes what isn't of this driver.
func (l listing) everybodys() listing {
	l.alien = true
	return l
}

// with adds other reads to every page.
func (l listing) with(more func(*command)) listing {
	l.more = more
	return l
}

// page is a part of a listing: the items with these hexadecimal digits. A part without digits is the whole, unless it is the
// rest, which has the items that are in no other page.
type page struct {
	digits string
	rest   bool
}

// split returns the pages that this one consists of.
func (p page) split(what listing) []page {
	var parts []page
	for _, digit := range hexDigits {
		parts = append(parts, page{digits: p.digits + string(digit)})
	}
	if what.alien && p.digits == "" {
		parts = append(parts, page{rest: true})
	}
	return parts
}

func (p page) mayBeSplit() bool { return !p.rest && len(p.digits) < maxPageDigits }

// condition returns the condition on the items of a page.
func (l listing) condition(cmd *command, p page) string {
	switch {
	case p.rest:
		return fmt.Sprintf("%s and !(%s)", l.where(cmd), cmd.begins(l.by, l.text, l.pattern+"[0-9a-f]"))
	case p.digits == "":
		return l.where(cmd)
	default:
		return l.where(cmd) + " and " + cmd.begins(l.by, l.text, l.pattern+p.digits)
	}
}

// list reads all items that fit. As long as they fit into one reply that is one exec. The appliance answers with the mere
// number where there are more, and they are read in pages, by the first digits of their slots. Slots are hashes, so pages are
// of much the same size.
//
// Pages are of different moments, and each item is on one page only. The uptime is the least that any page showed: an
// appliance that restarts meanwhile has been up for a short time only. What more adds is that of the last page.
//
// Errors are those of run, and ErrTooLarge.
func (c *Client) list(ctx context.Context, what listing) (reply, error) {
	whole, err := c.listPage(ctx, what, page{})
	if err != nil || !whole.many {
		return whole, err
	}
	whole = reply{uptime: math.MaxInt64}
	for pages := (page{}).split(what); len(pages) > 0; {
		answers, err := c.listPages(ctx, what, pages)
		if err != nil {
			return reply{}, err
		}
		var parts []page
		for i, answer := range answers {
			if answer.many {
				parts = append(parts, pages[i].split(what)...)
				continue
			}
			whole = whole.mergePage(answer)
		}
		pages = parts
	}
	return whole, nil
}

// listPages reads several pages at a time, and returns their replies in the same order.
func (c *Client) listPages(ctx context.Context, what listing, pages []page) ([]reply, error) {
	answers := make([]reply, len(pages))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(pagesInFlight)
	for i, page := range pages {
		group.Go(func() (err error) {
			answers[i], err = c.listPage(ctx, what, page)
			return err
		})
	}
	return answers, group.Wait()
}

// listPage reads one page. Its reply has many set if the page has to be split.
func (c *Client) listPage(ctx context.Context, what listing, page page) (reply, error) {
	cmd := newCommand(what.kind)
	cmd.showAtMost(pageRows, what, what.condition(cmd, page))
	if what.more != nil {
		what.more(cmd)
	}
	cmd.showUptime()
	answer, err := c.run(ctx, cmd)
	switch {
	case errors.Is(err, ErrTooLarge) && page.mayBeSplit():
		return reply{many: true}, nil
	case err == nil && answer.many && !page.mayBeSplit():
		return reply{}, fmt.Errorf("%w: more than %d items are on one page", ErrTooLarge, pageRows)
	default:
		return answer, err
	}
}

// mergePage returns the reply with those of another page added.
func (r reply) mergePage(other reply) reply {
	other.disks = slices.Concat(r.disks, other.disks)
	other.files = slices.Concat(r.files, other.files)
	other.uptime = min(r.uptime, other.uptime)
	return other
}
