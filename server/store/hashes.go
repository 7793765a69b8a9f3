package store

import "context"

// LacksKeys implements [Accounts].
func (d *DB) LacksKeys(ctx context.Context, domain, hash string) (lacks bool, err error) {
	err = d.read(ctx, func(s session) error {
		var n int64
		err := s.get(`SELECT COUNT(*) FROM (SELECT k.owner FROM account_key k JOIN owner o ON o.id = k.owner WHERE o.domain = ?
			GROUP BY k.owner HAVING SUM(CASE WHEN k.hash = ? THEN 1 ELSE 0 END) = 0 LIMIT 1) found`, []any{domain, hash}, &n)
		lacks = n > 0
		return err
	})
	return lacks, err
}
