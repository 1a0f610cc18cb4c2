-- The parts of a schema: the kind, name and definition of each, and the part that it belongs to.
--
-- Names are PostgreSQL's own (pg_identify_object). Definitions are SQL as PostgreSQL prints it, or
-- similar text for parts that it does not print.
--
-- Objects made by initdb have OIDs below 16384, so no list of their names is needed. Left out are
-- * objects of an extension: its version stands for them
-- * objects that PostgreSQL names itself, made for another part or for a partition like its parent's
-- * NOT NULL constraints, which exist since PostgreSQL 18: the column has it on all versions
-- * the order of a table's columns, which a migration cannot choose
-- * parts of an installation: tablespaces, subscriptions, user mappings, a server's options
WITH
-- The role that migrates owns the objects and may have any name: only other owners are shown.
home AS (
  SELECT coalesce(
    (SELECT relowner FROM pg_class
     WHERE relname = 'alembic_version' AND relkind = 'r' AND relpersistence = 'p'
     ORDER BY oid LIMIT 1),
    (SELECT datdba FROM pg_database WHERE datname = current_database())
  ) AS owner
),
role (oid, name) AS (
  SELECT 0::oid, 'PUBLIC'
  UNION ALL
  SELECT oid, CASE WHEN oid = owner OR rolname = 'pg_database_owner' THEN 'the owner'
    ELSE quote_ident(rolname) END
  FROM pg_roles, home
),
made (class, id) AS (
  SELECT classid, objid FROM pg_depend WHERE deptype IN ('e', 'i') AND objsubid = 0
),
relation AS (
  SELECT * FROM pg_class
  WHERE oid >= 16384 AND relpersistence <> 't' AND relkind IN ('r', 'p', 'v', 'm', 'f')
),
firing (code, words) AS (
  VALUES ('D'::"char", 'DISABLE'), ('R', 'ENABLE REPLICA'), ('A', 'ENABLE ALWAYS')
),
index_state (indexrelid, words) AS (
  SELECT indexrelid, concat_ws(' ',
    CASE WHEN NOT indisvalid THEN 'INVALID' END,
    CASE WHEN indisclustered THEN 'CLUSTER' END,
    CASE WHEN indisreplident THEN 'REPLICA IDENTITY' END)
  FROM pg_index
),
sequence (oid, class, relation, number, is_identity, words) AS (
  SELECT seqrelid, refclassid, refobjid, refobjsubid, coalesce(deptype = 'i', false),
    format('START %s INCREMENT %s MINVALUE %s MAXVALUE %s CACHE %s%s',
      seqstart, seqincrement, seqmin, seqmax, seqcache, CASE WHEN seqcycle THEN ' CYCLE' END)
  FROM pg_sequence
  LEFT JOIN pg_depend ON classid = 'pg_class'::regclass AND objid = seqrelid
    AND deptype IN ('a', 'i') AND refobjsubid <> 0
  WHERE seqrelid >= 16384
),

part (class, id, sub, of_class, of_id, owner, acl_kind, acl, definition) AS (
  SELECT 'pg_namespace'::regclass, oid, 0, NULL::regclass, NULL::oid, nspowner, 'n', nspacl, ''
  FROM pg_namespace
  WHERE (oid >= 16384 OR nspname = 'public') AND NOT starts_with(nspname, 'pg_')

  UNION ALL  -- Tables, views, materialized views, foreign tables
  SELECT 'pg_class'::regclass, oid, 0, 'pg_namespace'::regclass, relnamespace,
    relowner, 'r', relacl,
    concat_ws(' ',
      CASE relpersistence WHEN 'u' THEN 'UNLOGGED' END,
      'OF ' || nullif(reloftype, 0)::regtype::text,
      CASE relkind WHEN 'p' THEN 'PARTITION BY ' || pg_get_partkeydef(oid) END,
      (SELECT CASE WHEN relispartition THEN 'PARTITION OF ' ELSE 'INHERITS ' END
         || string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno)
       FROM pg_inherits WHERE inhrelid = relation.oid),
      pg_get_expr(relpartbound, oid),
      (SELECT 'USING ' || amname FROM pg_am WHERE pg_am.oid = relam AND amname <> 'heap'),
      (SELECT 'WITH ' || string_agg(each, ', ' ORDER BY each COLLATE "C")
       FROM unnest(reloptions || (
         SELECT array_agg('toast.' || each)
         FROM pg_class AS toast, unnest(toast.reloptions) AS each
         WHERE toast.oid = relation.reltoastrelid)) AS each),
      CASE WHEN relkind IN ('r', 'p') THEN
        CASE relreplident WHEN 'n' THEN 'REPLICA IDENTITY NOTHING'
          WHEN 'f' THEN 'REPLICA IDENTITY FULL' END
      END,
      CASE WHEN relrowsecurity THEN 'ENABLE ROW LEVEL SECURITY' END,
      CASE WHEN relforcerowsecurity THEN 'FORCE ROW LEVEL SECURITY' END,
      CASE WHEN relkind IN ('v', 'm') THEN 'AS' || pg_get_viewdef(oid) END,
      CASE relkind WHEN 'f' THEN (
        SELECT concat_ws(' ', 'SERVER', srvname, 'OPTIONS ' || array_to_string(ftoptions, ', '))
        FROM pg_foreign_table JOIN pg_foreign_server ON pg_foreign_server.oid = ftserver
        WHERE ftrelid = relation.oid) END)
  FROM relation

  UNION ALL  -- Columns
  SELECT 'pg_class'::regclass, attrelid, attnum, 'pg_class'::regclass, attrelid,
    relowner, 'c', attacl,
    concat_ws(' ',
      format_type(atttypid, atttypmod),
      CASE WHEN attcollation <> typcollation
        THEN 'COLLATE ' || attcollation::regcollation::text END,
      CASE WHEN attnotnull THEN 'NOT NULL' END,
      CASE attgenerated
        WHEN 's' THEN format('GENERATED ALWAYS AS (%s) STORED', pg_get_expr(adbin, adrelid))
        WHEN 'v' THEN format('GENERATED ALWAYS AS (%s) VIRTUAL', pg_get_expr(adbin, adrelid))
        ELSE 'DEFAULT ' || pg_get_expr(adbin, adrelid) END,
      CASE attidentity WHEN 'a' THEN 'GENERATED ALWAYS AS IDENTITY'
        WHEN 'd' THEN 'GENERATED BY DEFAULT AS IDENTITY' END,
      -- Not a separate part: its name does not change when the table is renamed.
      CASE WHEN attidentity <> '' THEN (
        SELECT format('(%s)', words) FROM sequence
        WHERE is_identity AND sequence.relation = attrelid AND number = attnum) END,
      CASE WHEN attstorage <> typstorage THEN
        CASE attstorage WHEN 'p' THEN 'STORAGE PLAIN' WHEN 'e' THEN 'STORAGE EXTERNAL'
          WHEN 'm' THEN 'STORAGE MAIN' ELSE 'STORAGE EXTENDED' END
      END,
      CASE attcompression WHEN 'p' THEN 'COMPRESSION pglz' WHEN 'l' THEN 'COMPRESSION lz4' END,
      'OPTIONS ' || array_to_string(attfdwoptions, ', '))
  FROM pg_attribute
  JOIN relation ON relation.oid = attrelid
  JOIN pg_type ON pg_type.oid = atttypid
  LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
  WHERE attnum > 0 AND NOT attisdropped

  UNION ALL  -- Constraints, with the state of the indexes and triggers that enforce them
  SELECT 'pg_constraint'::regclass, oid, 0,
    CASE conrelid WHEN 0 THEN 'pg_type'::regclass ELSE 'pg_class' END,
    CASE conrelid WHEN 0 THEN contypid ELSE conrelid END,
    NULL, NULL, NULL,
    concat_ws(' ',
      pg_get_constraintdef(oid),
      (SELECT nullif(words, '') FROM index_state
       WHERE indexrelid = conindid AND contype IN ('p', 'u', 'x')),
      CASE WHEN contype = 'f' AND EXISTS (
        SELECT FROM pg_trigger WHERE tgconstraint = pg_constraint.oid AND tgenabled = 'D')
      THEN 'DISABLE TRIGGER' END)
  FROM pg_constraint
  WHERE oid >= 16384 AND coninhcount = 0 AND (contype IN ('c', 'f', 'p', 'u', 'x')
    OR contype = 'n' AND (connoinherit OR NOT convalidated))

  UNION ALL  -- Indexes that are not a constraint's
  SELECT 'pg_class'::regclass, indexrelid, 0, 'pg_class'::regclass, indrelid, NULL, NULL, NULL,
    concat_ws(' ', pg_get_indexdef(indexrelid), nullif(words, ''))
  FROM pg_index JOIN index_state USING (indexrelid) JOIN relation ON relation.oid = indrelid
  WHERE NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = indexrelid)
    AND NOT EXISTS (
      SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))

  UNION ALL  -- Sequences that are not an identity column's
  SELECT 'pg_class'::regclass, oid, 0, 'pg_namespace'::regclass, relnamespace,
    relowner, 's', relacl,
    concat_ws(' ',
      CASE relpersistence WHEN 'u' THEN 'UNLOGGED' END,
      'AS ' || (SELECT seqtypid::regtype::text FROM pg_sequence WHERE seqrelid = oid),
      words,
      'OWNED BY ' || (pg_identify_object(sequence.class, sequence.relation, number)).identity)
  FROM sequence JOIN pg_class USING (oid)
  WHERE relpersistence <> 't' AND NOT is_identity

  UNION ALL  -- Enumerations, domains, composite, range and base types
  SELECT 'pg_type'::regclass, oid, 0, 'pg_namespace'::regclass, typnamespace,
    typowner, 'T', typacl,
    CASE typtype
      WHEN 'e' THEN (
        SELECT format('ENUM (%s)',
          string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder))
        FROM pg_enum WHERE enumtypid = pg_type.oid)
      WHEN 'd' THEN concat_ws(' ',
        'DOMAIN ' || format_type(typbasetype, typtypmod),
        'COLLATE ' || (
          SELECT pg_type.typcollation::regcollation::text FROM pg_type AS base
          WHERE base.oid = pg_type.typbasetype AND base.typcollation <> pg_type.typcollation),
        CASE WHEN typnotnull THEN 'NOT NULL' END,
        'DEFAULT ' || pg_get_expr(typdefaultbin, 0))
      WHEN 'c' THEN (
        SELECT format('COMPOSITE (%s)', string_agg(
          format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum))
        FROM pg_attribute WHERE attrelid = typrelid AND attnum > 0 AND NOT attisdropped)
      WHEN 'r' THEN (
        SELECT format('RANGE (%s)', rngsubtype::regtype) FROM pg_range WHERE rngtypid = oid)
      ELSE format('INPUT %s', typinput)
    END
  FROM pg_type
  WHERE oid >= 16384 AND typtype IN ('e', 'd', 'c', 'r', 'b') AND typcategory <> 'A'
    AND (typtype <> 'c' OR EXISTS (
      SELECT FROM pg_class WHERE pg_class.oid = typrelid AND relkind = 'c'))

  UNION ALL  -- Functions, procedures, aggregates
  SELECT 'pg_proc'::regclass, oid, 0, 'pg_namespace'::regclass, pronamespace,
    proowner, 'f', proacl,
    CASE prokind WHEN 'a' THEN (
      SELECT concat_ws(' ', 'SFUNC', aggtransfn, 'STYPE', aggtranstype::regtype,
        'FINALFUNC ' || nullif(aggfinalfn, 0)::regproc::text,
        'INITCOND ' || quote_literal(agginitval))
      FROM pg_aggregate WHERE aggfnoid = pg_proc.oid)
    ELSE pg_get_functiondef(oid) END
  FROM pg_proc WHERE oid >= 16384

  UNION ALL  -- Triggers; a partition's only if they differ from its parent's
  SELECT 'pg_trigger'::regclass, oid, 0, 'pg_class'::regclass, tgrelid, NULL, NULL, NULL,
    concat_ws(' ', pg_get_triggerdef(oid), words)
  FROM pg_trigger LEFT JOIN firing ON code = tgenabled
  WHERE NOT tgisinternal AND (tgparentid = 0 OR tgenabled <> (
    SELECT parent.tgenabled FROM pg_trigger AS parent WHERE parent.oid = pg_trigger.tgparentid))

  UNION ALL  -- Policies of row level security
  SELECT 'pg_policy'::regclass, oid, 0, 'pg_class'::regclass, polrelid, NULL, NULL, NULL,
    concat_ws(' ',
      CASE WHEN polpermissive THEN 'AS PERMISSIVE' ELSE 'AS RESTRICTIVE' END,
      CASE polcmd WHEN 'r' THEN 'FOR SELECT' WHEN 'a' THEN 'FOR INSERT'
        WHEN 'w' THEN 'FOR UPDATE' WHEN 'd' THEN 'FOR DELETE' ELSE 'FOR ALL' END,
      'TO ' || (
        SELECT string_agg(name, ', ' ORDER BY name COLLATE "C")
        FROM role WHERE role.oid = ANY (polroles)),
      'USING ' || pg_get_expr(polqual, polrelid),
      'WITH CHECK ' || pg_get_expr(polwithcheck, polrelid))
  FROM pg_policy

  UNION ALL  -- Rules, except those that define views
  SELECT 'pg_rewrite'::regclass, oid, 0, 'pg_class'::regclass, ev_class, NULL, NULL, NULL,
    concat_ws(' ', pg_get_ruledef(oid), words)
  FROM pg_rewrite LEFT JOIN firing ON code = ev_enabled
  WHERE oid >= 16384 AND rulename <> '_RETURN'

  UNION ALL  -- Extended statistics: their definitions, not the collected data
  SELECT 'pg_statistic_ext'::regclass, oid, 0, 'pg_class'::regclass, stxrelid,
    stxowner, NULL, NULL, pg_get_statisticsobjdef(oid)
  FROM pg_statistic_ext

  UNION ALL
  SELECT 'pg_extension'::regclass, oid, 0, NULL, NULL, NULL, NULL, NULL,
    format('SCHEMA %s VERSION %L', extnamespace::regnamespace, extversion)
  FROM pg_extension

  UNION ALL
  SELECT 'pg_event_trigger'::regclass, oid, 0, NULL, NULL, evtowner, NULL, NULL,
    concat_ws(' ', 'ON', evtevent, 'WHEN TAG IN ' || array_to_string(evttags, ', '),
      'EXECUTE', evtfoid::regprocedure, words)
  FROM pg_event_trigger LEFT JOIN firing ON code = evtenabled

  UNION ALL
  SELECT 'pg_publication'::regclass, oid, 0, NULL, NULL, pubowner, NULL, NULL,
    concat_ws(' ',
      'FOR TABLE ' || (
        SELECT string_agg(concat_ws(' ', prrelid::regclass,
          (SELECT format('(%s)', string_agg(quote_ident(attname), ', ' ORDER BY attname))
           FROM pg_attribute WHERE attrelid = prrelid AND attnum = ANY (prattrs)
           HAVING count(*) > 0),
          'WHERE ' || pg_get_expr(prqual, prrelid)
        ), ', ' ORDER BY prrelid::regclass::text COLLATE "C")
        FROM pg_publication_rel WHERE prpubid = pg_publication.oid),
      'FOR TABLES IN SCHEMA ' || (
        SELECT string_agg(quote_ident(nspname), ', ' ORDER BY nspname)
        FROM pg_publication_namespace JOIN pg_namespace ON pg_namespace.oid = pnnspid
        WHERE pnpubid = pg_publication.oid),
      -- puballtables, pubinsert, pubviaroot: the set of flags depends on the version.
      'WITH ' || (
        SELECT string_agg(key, ', ' ORDER BY key COLLATE "C")
        FROM jsonb_each(to_jsonb(pg_publication)) WHERE value = 'true'))
  FROM pg_publication

  UNION ALL
  SELECT 'pg_cast'::regclass, oid, 0, NULL, NULL, NULL, NULL, NULL,
    concat_ws(' ', 'METHOD', castmethod, 'CONTEXT', castcontext,
      'FUNCTION ' || nullif(castfunc, 0)::regprocedure::text)
  FROM pg_cast WHERE oid >= 16384

  UNION ALL
  SELECT 'pg_operator'::regclass, oid, 0, 'pg_namespace'::regclass, oprnamespace,
    oprowner, NULL, NULL,
    concat_ws(' ', 'FUNCTION', oprcode::regprocedure,
      'COMMUTATOR ' || nullif(oprcom, 0)::regoperator::text,
      'NEGATOR ' || nullif(oprnegate, 0)::regoperator::text)
  FROM pg_operator WHERE oid >= 16384

  UNION ALL
  SELECT 'pg_opclass'::regclass, oid, 0, 'pg_namespace'::regclass, opcnamespace,
    opcowner, NULL, NULL,
    concat_ws(' ', CASE WHEN opcdefault THEN 'DEFAULT' END, 'FOR TYPE', opcintype::regtype)
  FROM pg_opclass WHERE oid >= 16384

  UNION ALL
  SELECT 'pg_collation'::regclass, oid, 0, 'pg_namespace'::regclass, collnamespace,
    collowner, NULL, NULL,
    concat_ws(' ', 'PROVIDER', collprovider, collcollate, collctype,
      -- Since PostgreSQL 17, the column has the first of these names.
      coalesce(to_jsonb(pg_collation) ->> 'colllocale', to_jsonb(pg_collation) ->> 'colliculocale'),
      CASE WHEN NOT collisdeterministic THEN 'NOT DETERMINISTIC' END)
  FROM pg_collation WHERE oid >= 16384

  UNION ALL
  SELECT 'pg_ts_config'::regclass, oid, 0, 'pg_namespace'::regclass, cfgnamespace,
    cfgowner, NULL, NULL, (
      SELECT string_agg(format('%s %s', maptokentype, mapdict::regdictionary), ', '
        ORDER BY maptokentype, mapseqno)
      FROM pg_ts_config_map WHERE mapcfg = oid)
  FROM pg_ts_config WHERE oid >= 16384

  UNION ALL
  SELECT 'pg_ts_dict'::regclass, oid, 0, 'pg_namespace'::regclass, dictnamespace,
    dictowner, NULL, NULL, (
      SELECT concat_ws(' ', 'TEMPLATE', tmplname, dictinitoption)
      FROM pg_ts_template WHERE pg_ts_template.oid = dicttemplate)
  FROM pg_ts_dict WHERE oid >= 16384

  UNION ALL
  SELECT 'pg_foreign_server'::regclass, oid, 0, NULL, NULL, srvowner, 'S', srvacl, (
    SELECT 'FOREIGN DATA WRAPPER ' || fdwname
    FROM pg_foreign_data_wrapper AS wrapper WHERE wrapper.oid = srvfdw)
  FROM pg_foreign_server
),
own AS (
  SELECT part.*, it.type AS kind, it.identity AS name, it.type || ' ' || it.identity AS address,
    parent.type || ' ' || parent.identity AS part_of
  FROM part, pg_identify_object(class, id, sub) AS it,
    pg_identify_object(of_class, of_id, 0) AS parent
  WHERE NOT EXISTS (SELECT FROM made WHERE (made.class, made.id) = (part.class, part.id))
    AND NOT EXISTS (SELECT FROM made WHERE (made.class, made.id) = (of_class, of_id))
)

SELECT kind, own.name, concat_ws(' ', nullif(definition, ''), 'OWNER ' || role.name), part_of
FROM own LEFT JOIN role ON sub = 0 AND role.oid = own.owner AND role.name <> 'the owner'

UNION ALL  -- Privileges that differ from those of a new part
SELECT 'grant', format('%s to %s', address, role.name),
  CASE given
    -- The privileges that ALL stands for depend on the version.
    WHEN (
      SELECT string_agg(privilege_type, ', ' ORDER BY privilege_type COLLATE "C")
      FROM aclexplode(acldefault(acl_kind::"char", owner)) AS own WHERE grantee = owner) THEN 'ALL'
    ELSE coalesce(given, 'NOTHING')
  END,
  address
FROM own, role, LATERAL (
  SELECT grantee,
    string_agg(DISTINCT privilege, ', ' ORDER BY privilege) FILTER (WHERE now) AS given,
    string_agg(DISTINCT privilege, ', ' ORDER BY privilege) FILTER (WHERE NOT now) AS usual
  FROM (
    SELECT true AS now, grantee,
      (privilege_type || CASE WHEN is_grantable THEN '*' ELSE '' END) COLLATE "C" AS privilege
    FROM aclexplode(acl)
    UNION ALL
    SELECT false, grantee, privilege_type COLLATE "C"
    FROM aclexplode(acldefault(acl_kind::"char", owner))
  ) AS each
  GROUP BY grantee
) AS privileges
WHERE acl IS NOT NULL AND given IS DISTINCT FROM usual AND role.oid = grantee

UNION ALL  -- Default privileges of parts that are created in the future
SELECT 'default privilege',
  format('%s of %s%s to %s',
    CASE defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
      WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' ELSE defaclobjtype::text END,
    maker.name, ' in ' || nullif(defaclnamespace, 0)::regnamespace::text, role.name),
  string_agg(privilege_type || CASE WHEN is_grantable THEN '*' ELSE '' END, ', '
    ORDER BY privilege_type COLLATE "C"),
  NULL
FROM pg_default_acl, aclexplode(defaclacl), role, role AS maker
WHERE role.oid = grantee AND maker.oid = defaclrole
GROUP BY defaclobjtype, defaclnamespace, maker.name, role.name

UNION ALL
SELECT 'comment', format('%s %s', type, identity), description, format('%s %s', type, identity)
FROM pg_description, pg_identify_object(classoid, objoid, objsubid)
WHERE classoid <> 'pg_extension'::regclass AND description <> 'standard public schema'
  AND (objoid >= 16384
    OR classoid = 'pg_namespace'::regclass AND objoid = to_regnamespace('public'))
  AND NOT EXISTS (SELECT FROM made WHERE (made.class, made.id) = (classoid, objoid))
