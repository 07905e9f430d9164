package schema

var (
	// Parse reads a migration's file into its statements.
	Parse = func(text string) (texts []string, err error) {
		statements, err := parse(text)
		for _, s := range statements {
			texts = append(texts, s.text)
		}
		return texts, err
	}
	ParseFolder = parseFolder
	Files       = files
	Versions    = versions
)
