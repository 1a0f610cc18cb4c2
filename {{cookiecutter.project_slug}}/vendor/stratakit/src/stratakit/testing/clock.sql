-- Stops the clock of a database: a schema earlier in the search path shadows PostgreSQL's time
-- functions with ones that read the time from a table.
DO $stop$
DECLARE
  known text[] := '{now, transaction_timestamp, statement_timestamp, clock_timestamp}';
  real text := format('\m(CURRENT_TIMESTAMP|(%s)\(\))', array_to_string(known, '|'));
  name text;
  found record;
BEGIN
  CREATE SCHEMA strata_clock;
  CREATE TABLE strata_clock.clock (at timestamptz NOT NULL);
  INSERT INTO strata_clock.clock VALUES (pg_catalog.now());
  GRANT USAGE ON SCHEMA strata_clock TO PUBLIC;
  GRANT SELECT ON strata_clock.clock TO PUBLIC;
  FOREACH name IN ARRAY known LOOP
    EXECUTE format(
      'CREATE FUNCTION strata_clock.%I() RETURNS timestamptz STABLE LANGUAGE sql AS %L',
      name, 'SELECT at FROM strata_clock.clock');
  END LOOP;
  -- A column default stays bound to the function it was created with, so rewrite it.
  FOR found IN
    SELECT attrelid::regclass AS relation, attname,
      regexp_replace(pg_get_expr(adbin, adrelid), real, 'strata_clock.now()', 'g') AS stopped
    FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
      JOIN pg_class ON pg_class.oid = adrelid
    WHERE attgenerated = '' AND pg_get_expr(adbin, adrelid) ~ real
      AND pg_has_role(relowner, 'USAGE')
  LOOP
    EXECUTE format('ALTER TABLE %s ALTER %I SET DEFAULT %s',
      found.relation, found.attname, found.stopped);
  END LOOP;
  -- PostgreSQL searches pg_catalog first unless the search path lists it later.
  EXECUTE format('ALTER DATABASE %I SET search_path = "$user", public, strata_clock, pg_catalog',
    current_database());
END
$stop$
