//go:build !linux

package runtime

// refuseNew is for Linux, where this runs in earnest. Elsewhere a connection that is made in the instant between the
// last Accept and the close may be reset.
func (l *listener) refuseNew() {}

// hasUnread is for a server that is busier than it can be, which would take late requests for none.
func (c *conn) hasUnread() bool { return false }

func (c *conn) hasUntaken() bool { return false }
