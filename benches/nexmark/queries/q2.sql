-- Bids for some auctions.
CREATE TABLE result (auction BIGINT, price BIGINT) WITH ('connector' = 'checksum');
INSERT INTO result SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0;
