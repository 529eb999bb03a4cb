// Package verify tells whether what two clusters keep is the same: documents,
// mappings, definitions. It asks no cluster; what it compares has been translated
// to one dialect before.
package verify
