CREATE TABLE IF NOT EXISTS items (id BIGINT PRIMARY KEY, name TEXT NOT NULL, quantity BIGINT NOT NULL CHECK (quantity >= 0));
CREATE TABLE IF NOT EXISTS sales (item BIGINT NOT NULL, sold_at TIMESTAMPTZ NOT NULL DEFAULT now());

-- Reports the tags of what has changed. Postgres sends the reports after the commit, each tag once for each transaction,
-- and drops them after a rollback. Arguments: the tag of a row without its number, the column of the number, and the tag
-- of the whole table. `*` stands for everything.
CREATE OR REPLACE FUNCTION report_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pg_notify('changes', '*');
    ELSIF TG_LEVEL = 'STATEMENT' THEN
        PERFORM pg_notify('changes', TG_ARGV[2]);
    ELSE
        -- Both, since an update can change the number.
        IF TG_OP <> 'INSERT' THEN
            PERFORM pg_notify('changes', TG_ARGV[0] || ':' || (to_jsonb(OLD) ->> TG_ARGV[1]));
        END IF;
        IF TG_OP <> 'DELETE' THEN
            PERFORM pg_notify('changes', TG_ARGV[0] || ':' || (to_jsonb(NEW) ->> TG_ARGV[1]));
        END IF;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER report_rows AFTER INSERT OR UPDATE OR DELETE ON items
    FOR EACH ROW EXECUTE FUNCTION report_change('item', 'id', 'items');
CREATE OR REPLACE TRIGGER report_statements AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON items
    FOR EACH STATEMENT EXECUTE FUNCTION report_change('item', 'id', 'items');
