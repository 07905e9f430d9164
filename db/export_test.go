package db

// ClassOf names the class of an error, and says whether it leaves open what came of a COMMIT.
func ClassOf(err error) (class string, unknown bool) {
	return [...]string{unforeseen: "unforeseen", duplicate: "duplicate", retryable: "retryable", unavailable: "unavailable", storageFull: "storage full"}[classOf(err)], outcomeUnknown(err)
}
